"""Pixels in, tensors out, and back: how a picture of any shape meets a network of one size.

The sums are done by NumPy: threads that read ahead call this, and torch would give each a team of threads of its own,
which would fight the network's for the same cores.
"""

from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings

Size = tuple[int, int]
Box = tuple[int, int, int, int]


class Placement(NamedTuple):
    """What the way back needs.

    box: where the picture lies on the network's square. natural: the size that undoes a change of proportions.
    original: the size of what is shown, in the picture's own pixels.
    """

    box: Box
    natural: Size
    original: Size


@settings
class Preprocess:
    """The size rule of a model.

    size: side of the network's square, in pixels.
    fit: "pad" shows the whole picture with paper around it, "crop" fills the square with its middle, "stretch"
        changes its proportions, and restores them in the result.
    paper: grey level, 0..255, of padding and of what shows through transparency.
    """

    size: Annotated[int, Field(ge=1, le=2**14)]
    fit: Literal["pad", "crop", "stretch"] = "pad"
    paper: Annotated[int, Field(ge=0, le=255)] = 255

    def forward(self, image: Image.Image) -> tuple[Tensor, Placement]:
        """Return a picture (RGB or RGBA) as float32 (3, size, size) in -1..1, and where it lies."""
        part, placement = self._place(image.size)
        left, top, right, bottom = placement.box
        if (part, (right - left, bottom - top)) != ((0, 0, *image.size), image.size):
            image = image.resize((right - left, bottom - top), Image.Resampling.LANCZOS, box=part, reducing_gap=3.0)
        square = Image.new("RGB", (self.size, self.size), (self.paper,) * 3)
        square.paste(image.convert("RGB"), (left, top), image if image.mode == "RGBA" else None)
        return to_tensor(square), placement

    def inverse(self, tensor: Tensor, placement: Placement, *, keep_size: bool = False) -> Image.Image:
        """Return the picture (RGB) of a tensor (3, size, size), in the proportions of what was shown of the original.

        Args:
            tensor: values are clipped to -1..1 and rounded to 8 bits.
            placement: from `forward`.
            keep_size: enlarge (or shrink) to the size that this part had in the original.
        """
        picture = to_picture(tensor).crop(placement.box)
        size = placement.original if keep_size else placement.natural
        return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)

    def shown(self, image: Image.Image) -> Image.Image:
        """Return the part of an image (RGB or RGBA) that `forward` takes, as RGB in its own size."""
        part, _ = self._place(image.size)
        flat = Image.new("RGB", image.size, (self.paper,) * 3)
        flat.paste(image.convert("RGB"), mask=image if image.mode == "RGBA" else None)
        return flat if part == (0, 0, *image.size) else flat.crop(part)

    def _place(self, original: Size) -> tuple[Box, Placement]:
        """Return which part of a picture is shown, and where. No side is ever 0, however long the other is."""
        width, height = original
        side = self.size
        if self.fit == "crop":
            short = min(original)
            left, top = (width - short) // 2, (height - short) // 2
            part = (left, top, left + short, top + short)
            return part, Placement((0, 0, side, side), (side, side), (short, short))
        scale = side / max(original)
        fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
        if self.fit == "stretch":
            return (0, 0, width, height), Placement((0, 0, side, side), fitted, original)
        left, top = (side - fitted[0]) // 2, (side - fitted[1]) // 2
        box = (left, top, left + fitted[0], top + fitted[1])
        return (0, 0, width, height), Placement(box, fitted, original)


def to_pixels(image: Image.Image, *, size: Size | None = None, paper: int = 255) -> Tensor:
    """Return a picture (RGB or RGBA) as uint8 (3, H, W).

    Args:
        size: (width, height) to bring it to; its own by default.
        paper: grey level, 0..255, of what shows through transparency.
    """
    if size and size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    flat = Image.new("RGB", image.size, (paper,) * 3)
    flat.paste(image.convert("RGB"), mask=image if image.mode == "RGBA" else None)
    return torch.from_numpy(np.array(flat).transpose(2, 0, 1).copy())


def to_tensor(picture: Image.Image) -> Tensor:
    """Return an RGB picture as float32 (3, H, W) in -1..1; `to_picture` is its inverse."""
    pixels = np.asarray(picture, dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def to_picture(tensor: Tensor) -> Image.Image:
    """Return (3, H, W) in -1..1 as an RGB picture; values outside are clipped, halves go to the even level."""
    pixels = ((tensor.float().cpu().numpy().clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
