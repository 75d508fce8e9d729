"""A decoder that enlarges images, trained by `ddbm train --task autoencoder`.

Its latents are the image at a fraction of its size, so a model of small images becomes one of large images by it.
"""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.autoencoder import Block
from ddbm_cli.networks.blocks import Conv, zero
from ddbm_cli.networks.coder import Coder, neighbourhood


@settings
class EnlargerConfig:
    """An enlarger.

    factor: latents are the image at 1/factor of its size, each pixel the mean of a square. channels: of all layers.
    blocks: residual blocks.
    """

    name: ClassVar[str] = "enlarger"
    at_once: ClassVar[bool] = True

    factor: Annotated[int, Field(ge=2, le=8)] = 2
    channels: Annotated[int, Field(ge=4, le=1024)] = 32
    blocks: Annotated[int, Field(ge=1, le=64)] = 4

    def create(self) -> "Enlarger":
        """Return the network with fresh weights, which enlarges bilinearly."""
        return Enlarger(self)


class Enlarger(Coder):
    """The enlarger: bilinear interpolation, and what residual blocks at the size of the latents add to it."""

    def __init__(self, config: EnlargerConfig) -> None:
        super().__init__(channels=3, factor=config.factor)
        self.config = config
        self.reach = neighbourhood(config.blocks, config.factor, levels=1)
        blocks = [Block(config.channels) for _ in range(config.blocks)]
        last = zero(Conv(config.channels, 3 * config.factor**2))
        self.decoder = nn.Sequential(Conv(3, config.channels), *blocks, last)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def raw(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image.to(self.shift.dtype), self.factor)

    def open(self, raw: Tensor) -> Tensor:
        raw = raw.to(self.shift.dtype)
        added = F.pixel_shuffle(self.decoder(raw), self.factor)
        return added + F.interpolate(raw, scale_factor=self.factor, mode="bilinear")

    def calibrate(self, mean: Tensor, deviation: Tensor) -> None:
        """Leave the latents as they are: they are images."""
