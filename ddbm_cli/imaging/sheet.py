"""Contact sheets: images side by side."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ddbm_cli.imaging.preprocess import to_picture

Picture = Image.Image


def contact_sheet(sides: Sequence[Tensor], *, columns: int, gap: int = 2) -> Image.Image:
    """Lay out groups of images, `columns` groups per row.

    Args:
        sides: tensors (N, 3, H, W) in -1..1; group i is the i-th image of each, left to right.
        columns: groups in a row.
        gap: grey pixels between images; between groups twice as many.
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


def labelled_sheet(
    columns: Mapping[str, Sequence[Image.Image | None]], *, least: int = 128, gap: int = 4
) -> Image.Image:
    """Lay out columns of images under their labels, on white; None leaves a place empty.

    Args:
        columns: label -> images, the same number in each.
        least: side of a place, in pixels; smaller images are enlarged by whole factors.
    """
    pictures = [picture for column in columns.values() for picture in column if picture]
    largest = max((side for picture in pictures for side in picture.size), default=1)
    factor = -(-least // largest) if largest < least else 1
    side, font = factor * largest, ImageFont.load_default(12)
    labels = {label: _wrapped(label, font, side) for label in columns}
    head = 16 * max(text.count("\n") + 1 for text in labels.values()) + gap
    rows = max(map(len, columns.values()))
    sheet = Image.new("RGB", (len(columns) * (side + gap) + gap, head + rows * (side + gap) + gap), "white")
    for place, (label, column) in enumerate(columns.items()):
        left = gap + place * (side + gap)
        ImageDraw.Draw(sheet).multiline_text((left, gap), labels[label], "black", font)
        for row, picture in enumerate(column):
            if picture:
                scaled = picture.convert("RGB").resize((factor * picture.width, factor * picture.height), 0)
                sheet.paste(scaled, (left, head + gap + row * (side + gap)))
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Break a label between its words into lines that fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if not lines[-1] or font.getlength(longer) <= width else [lines[-1], word]
    return "\n".join(lines)
