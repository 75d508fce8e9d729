"""Where the paper is in an image, and parts of it cut out at a size that is just large enough."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddbm_cli.imaging.preparing.arrays import Floats, picture, pixels
from ddbm_cli.imaging.preparing.page import perspective, size_of

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in the pixels of the page, which may reach beyond it."""

EDGE = 0.012
"""What is not looked at along the sides of a page that was found, as a fraction of its longer side."""


@dataclass(frozen=True)
class Frame:
    """The page that an image shows; the whole image if `corners` (4, 2), in its pixels, is None."""

    image: Image.Image
    corners: Floats | None = None

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the page, in the pixels of the image."""
        return (float(self.image.width), float(self.image.height)) if self.corners is None else size_of(self.corners)

    def cut(self, box: Box, side: int, paper: Floats | None = None, *, edge: float = EDGE) -> Floats:
        """Return a part of the page, (H, W, 3) in 0..1, with white beyond the page.

        Args:
            side: pixels of the longer side that are enough; there are fewer than twice as many.
            paper: the brightness of the paper (h, w, 3) of the whole image, which the part is divided by.
            edge: what is white along the sides of a page that was found, as a fraction of its longer side.
        """
        factor = max(1, int(max(box[2] - box[0], box[3] - box[1]) / side))
        size = (max(1, round((box[2] - box[0]) / factor)), max(1, round((box[3] - box[1]) / factor)))
        if self.corners is None:
            return self._straight(box, factor, size, paper)
        matrix = perspective(self.corners, *self.size)
        whole = self.image.reduce(factor) if factor > 1 else self.image
        cut = pixels(_seen(whole, self._scaling(whole.size) @ matrix, box, size))
        if paper is not None:
            cut = _divided(cut, _seen(picture(paper), self._scaling(paper.shape[1::-1]) @ matrix, box, size))
        for axis, (low, high, length) in enumerate(((box[1], box[3], self.size[1]), (box[0], box[2], self.size[0]))):
            places = low + (np.arange(cut.shape[axis]) + 0.5) * (high - low) / cut.shape[axis]
            margin = edge * max(self.size)
            cut[(slice(None),) * axis + ((places < margin) | (places > length - margin),)] = 1
        return cut

    def _straight(self, box: Box, factor: int, size: tuple[int, int], paper: Floats | None) -> Floats:
        left, top, right, bottom = (round(edge) for edge in box)
        inside = max(left, 0), max(top, 0), min(right, self.image.width), min(bottom, self.image.height)
        whole = np.ones((size[1], size[0], 3), dtype=np.float32)
        part = pixels(self.image.reduce(factor, box=inside) if factor > 1 else self.image.crop(inside))
        if paper is not None:
            inner = float(inside[0]), float(inside[1]), float(inside[2]), float(inside[3])
            shape = part.shape[1], part.shape[0]
            part = _divided(part, _seen(picture(paper), self._scaling(paper.shape[1::-1]), inner, shape))
        x, y = round((inside[0] - left) / factor), round((inside[1] - top) / factor)
        part = part[: size[1] - y, : size[0] - x]
        whole[y : y + part.shape[0], x : x + part.shape[1]] = part
        return whole

    def _scaling(self, size: tuple[int, ...]) -> Floats:
        """Return the matrix from the pixels of the image to those of the same image at another size."""
        return np.diag([size[0] / self.image.width, size[1] / self.image.height, 1.0])


def _divided(cut: Floats, paper: Image.Image) -> Floats:
    return (cut / np.maximum(pixels(paper), np.float32(1 / 255))).clip(0, 1)


def _seen(image: Image.Image, matrix: Floats, box: Box, size: tuple[int, int]) -> Image.Image:
    """Return what a page's box shows of an image, at another size.

    Args:
        matrix: from the pixels of the page to those of the image.
    """
    width, height = size
    place = np.array([[(box[2] - box[0]) / width, 0, box[0]], [0, (box[3] - box[1]) / height, box[1]], [0, 0, 1]])
    found = matrix @ place
    coefficients = tuple((found / found[2, 2]).reshape(-1)[:8])
    return image.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
