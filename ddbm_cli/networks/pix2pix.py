"""pix2pix's two networks (arXiv:1611.07004): a U-Net that gives the result in one evaluation, and a critic of patches.

The paper's batch normalisation with batches of one normalises each image by itself. It is written so here, so that an
image does not depend on the rest of its batch. Layers of one pixel are not normalised.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.foundation.settings import settings

WIDEST = 8
"""Channels grow by halvings of the size up to this many times the first level's."""

DROPPED = 3
"""Number of levels above the narrowest with dropout in training."""


@settings
class Pix2PixConfig:
    """pix2pix's generator: the result in one evaluation.

    in_channels: of x_t and x_T together, of which it uses x_T alone. channels: of the first level.
    depth: halvings of the size; 6 for 64 pixels, 8 for the paper's 256. dropout: of the levels next to the narrowest.
    """

    name: ClassVar[str] = "pix2pix"
    at_once: ClassVar[bool] = True

    in_channels: Annotated[int, Field(ge=2, multiple_of=2)] = 6
    out_channels: Annotated[int, Field(ge=1)] = 3
    channels: Annotated[int, Field(ge=1, le=2**14)] = 64
    depth: Annotated[int, Field(ge=2, le=12)] = 6
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def largest_activation(self, width: int, height: int) -> int:
        """Return how many numbers the largest activation of an image has."""
        return max(self.channels * (width // 2) * (height // 2), self.out_channels * width * height)

    def most_positions(self, width: int, height: int) -> int:
        """Return how many positions attend to each other: none do."""
        return 0

    def create(self) -> "Pix2Pix":
        """Return the network with fresh weights."""
        return Pix2Pix(self)


class Pix2Pix(nn.Module):
    """F(x, time): the image, in -1..1, from the source alone; the state and the time have no effect.

    Height and width of the input must be multiples of `size_multiple`.
    """

    def __init__(self, config: Pix2PixConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * min(2**level, WIDEST) for level in range(config.depth)]
        before = [config.in_channels // 2, *widths]
        self.down = nn.ModuleList(
            _down(before[level], width, norm=0 < level < config.depth - 1) for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList()
        for level in reversed(range(config.depth)):
            inside = widths[level] * (1 if level == config.depth - 1 else 2)  # with the features of the same level
            dropped = config.depth - 1 - DROPPED <= level < config.depth - 1
            outside = widths[level - 1] if level else config.out_channels
            self.up.append(_up(inside, outside, dropout=config.dropout if dropped else 0.0, last=level == 0))
        for each in self.modules():
            if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(each.weight, std=0.02)

    @property
    def size_multiple(self) -> int:
        """What height and width must be multiples of."""
        return int(2**self.config.depth)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the picture (B, out_channels, H, W) for x (B, in_channels, H, W), in the dtype of the weights."""
        h = x[:, self.config.in_channels // 2 :].to(next(self.parameters()).dtype)
        kept = []
        for down in self.down:
            h = down(h)
            kept.append(h)
        h = kept.pop()
        for up in self.up:
            h = up(h)
            if kept:
                h = torch.cat([h, kept.pop()], dim=1)
        return torch.tanh(h)


class PatchGAN(nn.Module):
    """The critic: for each patch of a pair, whether it is real; with 3 layers, patches of 70 pixels."""

    def __init__(self, channels_in: int = 6, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [channels * min(2**level, WIDEST) for level in range(layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(channels_in, widths[0], 4, 2, 1)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            parts += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, 1),
                _norm(widths[level]),
            ]
        parts += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, 4, 1, 1)]
        self.layers = nn.Sequential(*parts)
        for each in self.modules():
            if isinstance(each, nn.Conv2d):
                nn.init.normal_(each.weight, std=0.02)

    def forward(self, source: Tensor, picture: Tensor) -> Tensor:
        """Return logits (B, 1, h, w) of source and picture (B, C, H, W): large where a patch looks real."""
        return self.layers(torch.cat([source, picture], dim=1))


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def _down(channels: int, out_channels: int, *, norm: bool) -> nn.Module:
    # Of the first level the picture itself comes in, which no activation has touched.
    parts: list[nn.Module] = [nn.LeakyReLU(0.2)] if channels > 3 else []
    parts.append(nn.Conv2d(channels, out_channels, 4, 2, 1))
    return nn.Sequential(*parts, *([_norm(out_channels)] if norm else []))


def _up(channels: int, out_channels: int, *, dropout: float, last: bool) -> nn.Module:
    parts: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(channels, out_channels, 4, 2, 1)]
    if not last:
        parts.append(_norm(out_channels))
    if dropout:
        parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)
