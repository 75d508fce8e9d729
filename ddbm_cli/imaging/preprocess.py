"""Images to tensors and back: how an image of any shape is brought to the square of a network.

NumPy does the arithmetic: threads that read ahead call this, and torch would start a team of threads for each of them,
which would compete with the network for the same cores.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.imaging.alpha import on_paper

LARGEST = 4096
"""Pixels of a side of a network's images, at most: memory is allocated in proportion to its square."""

DEEPEST = 65535
"""White of 16 bits."""

ALIKE = 0.02
"""Relative difference of the proportions of two images that counts as none."""

_Side = Annotated[int, Field(ge=1, le=LARGEST)]
Size = tuple[int, int]
Box = tuple[int, int, int, int]
Part = tuple[float, float, float, float]


class Placement(NamedTuple):
    """What `Preprocess.inverse` needs.

    box: the position of the image on the network's image. natural: the size that undoes a change of proportions.
    original: the size of what is visible, in the image's own pixels.
    """

    box: Box
    natural: Size
    original: Size


@settings
class Preprocess:
    """How a model brings images to its size.

    size: of the network's images, in pixels: the side of a square, or (width, height).
    fit: "pad" adds paper around the whole image, "crop" uses the middle of the network's proportions, "stretch"
        changes the proportions, and restores them in the result.
    paper: grey level, 0..255, of the padding and behind transparency.
    resize: filter that brings images to this size: "lanczos", "nearest", or "enlarge-nearest", which enlarges with
        nearest neighbours and reduces with Lanczos. Models need the one of their training.
    """

    keeps_size: ClassVar[bool] = False
    """Whether images keep their own size."""

    size: _Side | tuple[_Side, _Side]
    fit: Literal["pad", "crop", "stretch"] = "pad"
    paper: Annotated[int, Field(ge=0, le=255)] = 255
    resize: Literal["lanczos", "nearest", "enlarge-nearest"] = "lanczos"

    @property
    def width(self) -> int:
        """Of the network's images, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def height(self) -> int:
        """Of the network's images, in pixels."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def words(self) -> str:
        """The size, such as 256x192: width, then height."""
        return f"{self.width}x{self.height}"

    @property
    def on_sheets(self) -> "Preprocess":
        """How images are brought to one size on a contact sheet."""
        return self

    def forward(self, image: Image.Image, *, like: Size | None = None) -> tuple[Tensor, Placement]:
        """Return an image (RGB or RGBA) as float32 (3, height, width) in -1..1, and its position.

        Args:
            image: any size.
            like: (width, height) of another image of the same proportions, such as the target of a pair: the image is
                placed exactly as that one is.
        """
        shown, placement = self._place(like or image.size)
        part: Part = shown
        if like and like != image.size:
            across, down = image.width / like[0], image.height / like[1]
            right, bottom = min(part[2] * across, image.width), min(part[3] * down, image.height)
            part = (part[0] * across, part[1] * down, right, bottom)
        left, top, right, bottom = placement.box
        if (part, (right - left, bottom - top)) != ((0, 0, *image.size), image.size):
            image = self._resized(image, (right - left, bottom - top), part)
        square = Image.new("RGB", (self.width, self.height), (self.paper,) * 3)
        square.paste(image.convert("RGB"), (left, top), image if image.mode == "RGBA" else None)
        return to_tensor(square), placement

    def inverse(self, tensor: Tensor, placement: Placement, *, keep_size: bool = False) -> Image.Image:
        """Return the image (RGB) of a tensor (3, height, width), in the proportions of what is visible of the original.

        Args:
            tensor: values are clipped to -1..1 and rounded to 8 bits.
            placement: from `forward`.
            keep_size: resize to the size that this part had in the original.
        """
        image = to_picture(tensor).crop(placement.box)
        size = placement.original if keep_size else placement.natural
        return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

    def inverse_deep(self, tensor: Tensor, placement: Placement, *, keep_size: bool = False) -> list[Image.Image]:
        """Return what `inverse` does as three images (F), of red, green and blue: 0..65535, not rounded."""
        values = (tensor.float().cpu().numpy().clip(-1, 1) + 1) * (DEEPEST / 2)
        size = placement.original if keep_size else placement.natural
        parts = [Image.fromarray(channel).crop(placement.box) for channel in values.astype(np.float32)]
        return [part if part.size == size else part.resize(size, Image.Resampling.LANCZOS) for part in parts]

    def shown(self, image: Image.Image) -> Image.Image:
        """Return the part of an image (RGB or RGBA) that `forward` takes, as RGB in its own size."""
        part = self._place(image.size)[0]
        flat = on_paper(image, self.paper)
        return flat if part == (0, 0, *image.size) else flat.crop(part)

    def fits_with(self, size: Size, other: Size) -> bool:
        """Return whether images of these sizes have the same position on the network's image."""
        return self.fit == "stretch" or abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= ALIKE

    def _resized(self, image: Image.Image, size: Size, part: Part) -> Image.Image:
        enlarged = size[0] >= part[2] - part[0] and size[1] >= part[3] - part[1]
        if self.resize == "nearest" or (self.resize == "enlarge-nearest" and enlarged):
            return image.resize(size, Image.Resampling.NEAREST, box=part)
        return image.resize(size, Image.Resampling.LANCZOS, box=part, reducing_gap=3.0)

    def has_proportions_of(self, size: Size) -> bool:
        """Return whether images of a size fill the network's image as a whole."""
        return abs(size[0] * self.height / (size[1] * self.width) - 1) <= ALIKE

    def _place(self, original: Size) -> tuple[Box, Placement]:
        """Return the visible part of an image, and its position. No side is ever 0, however long the other is."""
        width, height = original
        whole = (0, 0, self.width, self.height)
        if self.fit == "crop":
            across = max(1, min(width, round(height * self.width / self.height)))
            down = max(1, min(height, round(width * self.height / self.width)))
            left, top = (width - across) // 2, (height - down) // 2
            part = (left, top, left + across, top + down)
            return part, Placement(whole, whole[2:], (across, down))
        scale = min(self.width / width, self.height / height)
        fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
        if self.fit == "stretch":
            return (0, 0, width, height), Placement(whole, fitted, original)
        left, top = (self.width - fitted[0]) // 2, (self.height - fitted[1]) // 2
        box = (left, top, left + fitted[0], top + fitted[1])
        return (0, 0, width, height), Placement(box, fitted, original)


@settings
class AnySize(Preprocess):
    """Images keep their own size."""

    keeps_size: ClassVar[bool] = True

    size: _Side | tuple[_Side, _Side] = 256

    @property
    def words(self) -> str:
        return "any size"

    @property
    def on_sheets(self) -> Preprocess:
        return Preprocess(size=self.size)

    def forward(self, image: Image.Image, *, like: Size | None = None) -> tuple[Tensor, Placement]:
        whole = (0, 0, *image.size)
        return to_tensor(self.shown(image)), Placement(whole, image.size, image.size)

    def _place(self, original: Size) -> tuple[Box, Placement]:
        whole = (0, 0, *original)
        return whole, Placement(whole, original, original)


def to_deep(channels: Sequence[Image.Image], alpha: Image.Image | None = None) -> np.ndarray:
    """Return three images (F, 0..65535), and transparency (L), as uint16 (H, W, 3), or (H, W, 4) with alpha."""
    planes = [np.asarray(channel).clip(0, DEEPEST).round() for channel in channels]
    if alpha is not None:
        planes.append(np.asarray(alpha).astype(np.float32) * (DEEPEST / 255))
    return np.stack(planes, axis=-1).astype(np.uint16)


def to_pixels(image: Image.Image, *, size: Size | None = None, paper: int = 255) -> Tensor:
    """Return an image (RGB or RGBA) as uint8 (3, H, W).

    Args:
        size: (width, height) to bring it to; its own by default.
        paper: grey level, 0..255, behind transparency.
    """
    if size and size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(on_paper(image, paper)).transpose(2, 0, 1).copy())


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image as float32 (3, H, W) in -1..1; `to_picture` is its inverse."""
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def to_picture(tensor: Tensor) -> Image.Image:
    """Return (3, H, W) in -1..1 as an RGB image; values outside are clipped, halves are rounded to even."""
    pixels = ((tensor.float().cpu().numpy().clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
