"""Contact sheets: images side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.io import encode_picture, open_picture
from ddbm_cli.imaging.preprocess import to_picture, to_tensor

Picture = Image.Image

GREY = (200, 200, 200)
"""Between images, and where a sheet has none."""


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
    sheet = Image.new("RGB", (min(columns, count) * group + gap, rows * (height + gap) + gap), GREY)
    for index in range(count):
        row, column = divmod(index, columns)
        for place, side in enumerate(sides):
            corner = (gap + column * group + place * (width + gap), gap + row * (height + gap))
            sheet.paste(to_picture(side[index]), corner)
    return sheet


def cut_sheet(sheet: Image.Image, *, group: int, width: int, height: int, gap: int = 2) -> list[list[Image.Image]]:
    """Return the images of a contact sheet again: a list for each group, in order; grey places are left out.

    Args:
        group: images of a group. width, height: of one image, in pixels. gap: as in `contact_sheet`.
    """
    across = max(1, (sheet.width - gap) // (group * (width + gap) + gap))
    found = []
    for row in range((sheet.height - gap) // (height + gap)):
        for column in range(across):
            left, top = gap + column * (group * (width + gap) + gap), gap + row * (height + gap)
            places = [left + place * (width + gap) for place in range(group)]
            images = [sheet.crop((each, top, each + width, top + height)) for each in places]
            if any(image.getcolors(1) != [(width * height, GREY)] for image in images):
                found.append(images)
    return found


def part_of_sheet(file: Path, *, group: int, width: int, height: int, across: int, down: int, gap: int = 2) -> bytes:
    """Return the first groups of a contact sheet in a file as the bytes of a smaller sheet, PNG.

    Args:
        group, width, height, gap: as in `cut_sheet`. across, down: groups in a row, and rows, at most.

    Raises:
        ImageError: the file is no image.
    """
    groups = cut_sheet(open_picture(file), group=group, width=width, height=height, gap=gap)[: across * down]
    stacked = [to_tensor(each) for images in groups for each in images]
    if not stacked:
        raise ImageError(f"{file}: no sheet of images of {width}x{height} pixels", hint="remove the file")
    sides = [torch.stack(stacked[place::group]) for place in range(group)]
    return encode_picture(contact_sheet(sides, columns=min(across, len(groups)), gap=gap), "png")


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


def within(picture: Image.Image, *, least: int = 128, most: int = 192) -> Image.Image:
    """Return an image whose longer side has `least` to `most` pixels; small ones are enlarged by whole factors."""
    factor = least // max(picture.size)
    if factor > 1:
        return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)
    smaller = picture.copy()
    smaller.thumbnail((most, most))
    return smaller


def words_sheet(text: str, *, side: int = 128) -> Image.Image:
    """Return a white square with words in it, as the label of a row."""
    square, font = Image.new("RGB", (side, side), "white"), ImageFont.load_default(12)
    ImageDraw.Draw(square).multiline_text((2, side // 2), _wrapped(text, font, side - 4), "black", font, anchor="lm")
    return square


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Break a label between its words into lines that fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if not lines[-1] or font.getlength(longer) <= width else [lines[-1], word]
    return "\n".join(lines)
