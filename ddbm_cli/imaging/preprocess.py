"""Pixels in, tensors out, and back: how a picture of any shape meets a network of one size."""

from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field
from torch import Tensor

from ddbm_cli.settings import settings


class Placement(NamedTuple):
    """Where a picture lies on the network's square, and how large it was: what the way back needs."""

    box: tuple[int, int, int, int]
    original: tuple[int, int]


@settings
class Preprocess:
    """The size rule of a model.

    size: side of the network's square, in pixels.
    fit: "pad" shows the whole picture with paper around it, "crop" fills the square with its middle, "stretch"
        changes its proportions.
    paper: grey level, 0..255, of padding and of what shows through transparency.
    """

    size: Annotated[int, Field(ge=1)]
    fit: Literal["pad", "crop", "stretch"] = "pad"
    paper: Annotated[int, Field(ge=0, le=255)] = 255

    def forward(self, image: Image.Image) -> tuple[Tensor, Placement]:
        """Return a picture (RGB or RGBA) as float32 (3, size, size) in -1..1, and where it lies."""
        small, box = self._shrink(image)
        square = Image.new("RGB", (self.size, self.size), (self.paper,) * 3)
        square.paste(small.convert("RGB"), box[:2], small if small.mode == "RGBA" else None)
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()
        return pixels.float() / 127.5 - 1, Placement(box, image.size)

    def inverse(self, tensor: Tensor, placement: Placement, *, keep_size: bool = False) -> Image.Image:
        """Return the picture (RGB) of a tensor (3, size, size), in the proportions of the original.

        Args:
            tensor: values are clipped to -1..1 and rounded to 8 bits.
            placement: from `forward`.
            keep_size: enlarge to the original's size.
        """
        picture = to_picture(tensor).crop(placement.box)
        return picture.resize(placement.original, Image.Resampling.LANCZOS) if keep_size else picture

    def _shrink(self, image: Image.Image) -> tuple[Image.Image, tuple[int, int, int, int]]:
        size = self.size
        if self.fit == "crop":
            return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS), (0, 0, size, size)
        scale = size / max(image.size)
        width, height = (size, size) if self.fit == "stretch" else (max(1, round(n * scale)) for n in image.size)
        left, top = (size - width) // 2, (size - height) // 2
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return image, (left, top, left + width, top + height)


def to_picture(tensor: Tensor) -> Image.Image:
    """Return (3, H, W) in -1..1 as an RGB picture; values outside are clipped."""
    pixels = ((tensor.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())
