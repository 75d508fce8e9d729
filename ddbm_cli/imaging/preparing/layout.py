"""Results of the objects of a page, put back in their places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from ddbm_cli.imaging.preparing.frame import Box

Size = tuple[int, int]

MOST = 4096
"""Longer side of a page of results at the model's size, in pixels, at most."""


WHITE: dict[str, str | int] = {"RGB": "white", "F": 65535}


@dataclass(frozen=True)
class Layout:
    """Where the objects of an image lie.

    boxes: in the pixels of the page. page: its width and height. original: the size of the image.
    """

    boxes: tuple[Box, ...]
    page: tuple[float, float]
    original: Size

    def size(self, model_size: int, *, keep_size: bool) -> Size:
        """Return the size of what `compose` makes of results of this many pixels."""
        if keep_size:
            return self.original
        if len(self.boxes) == 1:
            return model_size, model_size
        largest = max(right - left for left, _, right, _ in self.boxes)
        scale = min(model_size / largest, MOST / max(self.page))
        return max(1, round(self.page[0] * scale)), max(1, round(self.page[1] * scale))

    def compose(self, results: Sequence[Image.Image], *, keep_size: bool) -> Image.Image:
        """Return one image of the results (RGB, or one channel with 16 bits: F, 0..65535), on white.

        A single object without `keep_size` is its result alone. Several objects lie on a page on which the largest has
        its result's size; with `keep_size`, the page has the size of the image.
        """
        if len(results) == 1 and not keep_size:
            return results[0]
        size = self.size(max(results[0].size), keep_size=keep_size)
        page = Image.new(results[0].mode, size, WHITE[results[0].mode])
        across, down = size[0] / self.page[0], size[1] / self.page[1]
        for (left, top, right, bottom), result in zip(self.boxes, results, strict=True):
            x, y = round(left * across), round(top * down)
            shape = max(1, round(right * across) - x), max(1, round(bottom * down) - y)
            placed = result if result.size == shape else result.resize(shape, Image.Resampling.LANCZOS)
            inside = max(x, 0), max(y, 0), min(x + shape[0], size[0]), min(y + shape[1], size[1])
            if inside[0] < inside[2] and inside[1] < inside[3]:
                part = placed.crop((inside[0] - x, inside[1] - y, inside[2] - x, inside[3] - y))
                page.paste(_darker(page.crop(inside), part), inside[:2])
        return page


def _darker(one: Image.Image, other: Image.Image) -> Image.Image:
    """Return the lower of two images (RGB, or F, which ImageChops does not take), pixel by pixel."""
    if one.mode != "F":
        return ImageChops.darker(one, other)
    return Image.fromarray(np.minimum(np.asarray(one), np.asarray(other)))
