"""Contact sheets: pictures side by side."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from ddbm_cli.imaging.preprocess import to_picture


def contact_sheet(sides: Sequence[Tensor], *, columns: int, gap: int = 2) -> Image.Image:
    """Lay out groups of pictures, `columns` groups to a row.

    Args:
        sides: tensors (N, 3, H, W) in -1..1; group i is the i-th picture of each, left to right.
        columns: groups in a row.
        gap: grey pixels between pictures; between groups twice as many.
    """
    count, _, height, width = sides[0].shape
    group = len(sides) * (width + gap) + gap
    rows = -(-count // columns)
    sheet = Image.new("RGB", (min(columns, count) * group + gap, rows * (height + gap) + gap), (200, 200, 200))
    for index in range(count):
        row, column = divmod(index, columns)
        for place, side in enumerate(sides):
            corner = (gap + column * group + place * (width + gap), gap + row * (height + gap))
            sheet.paste(to_picture(side[index]), corner)
    return sheet
