"""Spaces in which the colours of images are moved: pixels or patches of an image (3, H, W) as points of d numbers.

All are float64 and exact to rounding in both directions, also for values outside of -1..1.
"""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings

INK = 32 / 127.5
"""Distance from white, in the channel farthest from it and of -1..1, from which on a pixel is no paper at all."""

TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
"""From linear sRGB to the responses of the cones (OKLab, Ottosson 2020)."""

TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
"""From the cube roots of these to lightness, green-red and blue-yellow."""


@settings
class ColourSpace:
    """Base: the space of single pixels in sRGB.

    keep_white: white paper neither counts nor changes; pale pixels, less than 32 of 255 from white, do in part.
    """

    name: ClassVar[str]

    keep_white: bool = False

    @property
    def across(self) -> int:
        """Pixels of an image, along each side, for one point."""
        return 1

    def encode(self, image: Tensor) -> Tensor:
        """Return the points (d, h, w) of an image (3, H, W), float64, about -1..1."""
        return image

    def decode(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the image (3, H, W) of points; size: H and W."""
        return points

    def weights(self, image: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return how much each pixel (H, W) of an image counts and may change, 0..1, float64.

        visible: (H, W), 0..1, transparency of the image; None for opaque ones.
        """
        weights = torch.ones(image.shape[1:], dtype=torch.float64) if visible is None else visible.double()
        return weights * ((1 - image.amin(0)) / INK).clamp(0, 1) if self.keep_white else weights

    def point_weights(self, weights: Tensor) -> Tensor:
        """Return how much each point (h, w) counts, from the weights (H, W) of pixels."""
        return weights

    def basis(self, covariance: Tensor) -> Tensor | None:
        """Return the directions (d, k), orthonormal, in which points are moved; None for all.

        covariance: (d, d), of the points of both sets together, each set counting one half.
        """
        return None


@settings
class RGB(ColourSpace):
    """Red, green and blue, as stored."""

    name: ClassVar[str] = "rgb"


@settings
class Opponent(ColourSpace):
    """Lightness, green-red and blue-yellow of OKLab, in which equal distances look about equal."""

    name: ClassVar[str] = "opponent"

    def encode(self, image: Tensor) -> Tensor:
        stored = (image + 1) / 2
        size = stored.abs()
        linear = torch.where(size > 0.04045, ((size + 0.055) / 1.055) ** 2.4, size / 12.92) * stored.sign()
        cones = torch.einsum("ij,jhw->ihw", _matrix(TO_LMS), linear)
        return torch.einsum("ij,jhw->ihw", _matrix(TO_LAB), cones.sign() * cones.abs() ** (1 / 3))

    def decode(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        cones = torch.einsum("ij,jhw->ihw", _matrix(TO_LAB).inverse(), points) ** 3
        linear = torch.einsum("ij,jhw->ihw", _matrix(TO_LMS).inverse(), cones)
        value = linear.abs()
        stored = torch.where(value > 0.04045 / 12.92, 1.055 * value ** (1 / 2.4) - 0.055, value * 12.92)
        return 2 * stored * linear.sign() - 1


@settings
class Patches(ColourSpace):
    """Squares of pixels, moved in their main directions only; what else is in them stays.

    side: of a square, in pixels. components: number of principal directions; 0 for all.
    """

    name: ClassVar[str] = "patches"

    side: Annotated[int, Field(ge=1, le=16)] = 4
    components: Annotated[int, Field(ge=0, le=768)] = 12

    @property
    def across(self) -> int:
        return self.side

    def encode(self, image: Tensor) -> Tensor:
        return F.pixel_unshuffle(_filled(image, self.side), self.side)

    def decode(self, points: Tensor, size: tuple[int, int]) -> Tensor:
        return F.pixel_shuffle(points, self.side)[:, : size[0], : size[1]]

    def point_weights(self, weights: Tensor) -> Tensor:
        """Return the weights of squares: that of their least visible pixel."""
        return F.pixel_unshuffle(_filled(weights[None], self.side), self.side).amin(0)

    def basis(self, covariance: Tensor) -> Tensor | None:
        if not self.components:
            return None
        directions: Tensor = torch.linalg.eigh(covariance).eigenvectors
        return directions.flip(1)[:, : self.components]


COLOUR_SPACES: dict[str, type[ColourSpace]] = {space.name: space for space in (Opponent, RGB, Patches)}


def _matrix(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _filled(image: Tensor, side: int) -> Tensor:
    """Return an image (C, H, W) with its last row and column repeated up to multiples of `side`."""
    height, width = image.shape[1:]
    padding = (0, -width % side, 0, -height % side)
    return F.pad(image[None], padding, mode="replicate")[0] if any(padding) else image
