"""Pixels in, tensors out, and back."""

from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from ddbm_cli.settings import settings


@settings
class Preprocess:
    """How a picture becomes the network's input."""

    size: Annotated[int, Field(ge=1)]
    fit: Literal["pad", "crop", "stretch"] = "pad"
    paper: Annotated[int, Field(ge=0, le=255)] = 255

    def forward(self, image: Image.Image) -> tuple[Tensor, None]:
        paper = Image.new("RGBA", image.size, (self.paper,) * 3 + (255,))
        flat = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
        scale = self.size / max(flat.size)
        small = flat if scale == 1 else flat.resize([max(1, round(n * scale)) for n in flat.size], Image.Resampling.LANCZOS)
        square = Image.new("RGB", (self.size, self.size), (self.paper,) * 3)
        square.paste(small, ((self.size - small.width) // 2, (self.size - small.height) // 2))
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 127.5 - 1, None


def to_picture(tensor: Tensor) -> Image.Image:
    """Return a picture of (3, H, W) in -1..1."""
    pixels = ((tensor.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
