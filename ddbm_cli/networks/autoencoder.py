"""A small convolutional autoencoder, trained by `ddbm train --task autoencoder`.

Encoder and decoder are residual blocks without normalisation, as in TAESD (github.com/madebyollin/taesd): each output
depends on a neighbourhood of the input alone, so that large images can be coded in tiles.
"""

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.blocks import Conv, zero

SPREAD = 0.5
"""Standard deviation of each channel of the latents over the training images: that of images in -1..1."""

BOUND = 3.0
"""Latents before scaling are within about this, by tanh: outliers would cost a bridge most of its range."""


@settings
class AutoencoderConfig:
    """The small autoencoder.

    latent_channels: of the latents. channels: of the first level; `multipliers` times that at each level, each level
    half as large as the one before. blocks: residual blocks of a level. patch: side of the squares of pixels that are
    folded into channels first. pointwise: use kernels of 1x1, not 3x3, where pixels are folded; fast for large
    patches.
    """

    name: ClassVar[str] = "autoencoder"
    at_once: ClassVar[bool] = True

    latent_channels: Annotated[int, Field(ge=1, le=64)] = 8
    channels: Annotated[int, Field(ge=4, le=1024)] = 48
    multipliers: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(min_length=1, max_length=6)] = (
        1,
        2,
        3,
    )
    blocks: Annotated[int, Field(ge=1, le=16)] = 2
    patch: Annotated[int, Field(ge=1, le=8)] = 2
    pointwise: bool = False

    @property
    def factor(self) -> int:
        """Pixels of an image, along each side, for one position of its latents."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))

    def create(self) -> "Autoencoder":
        """Return the network with fresh weights."""
        return Autoencoder(self)


class Autoencoder(nn.Module):
    """The small autoencoder. As a network of a model it is F(x, time): its image of the latents of the source.

    channels: of the latents. factor: pixels of an image, along each side, for one position of its latents.
    reach: positions of the latents that an image depends on around its own, and the other way round, at most.
    `shift` and `scale` (channels,) bring each channel of the latents to mean 0 and standard deviation `SPREAD`.
    """

    batch_invariant = True
    shift: Tensor
    scale: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config, self.channels, self.factor = config, config.latent_channels, config.factor
        # Of the residual blocks of two convolutions on each level, and of one convolution more.
        sides = [config.patch * 2**level for level in range(len(config.multipliers))]
        self.reach = math.ceil(sum((2 * config.blocks + 1) * side for side in sides) / self.factor) + 1
        self.register_buffer("shift", torch.zeros(self.channels))
        self.register_buffer("scale", torch.ones(self.channels))
        widths = [config.channels * multiplier for multiplier in config.multipliers]
        folded, stem = 3 * config.patch**2, 1 if config.pointwise else 3

        def blocks(width: int) -> list[nn.Module]:
            return [Block(width) for _ in range(config.blocks)]

        down: list[nn.Module] = [Conv(folded, widths[0], stem), *blocks(widths[0])]
        for before, width in pairwise(widths):
            down += [Fold(before, width), *blocks(width)]
        self.encoder = nn.Sequential(*down, Conv(widths[-1], self.channels))
        up: list[nn.Module] = [Conv(self.channels, widths[-1]), *blocks(widths[-1])]
        for before, width in pairwise(reversed(widths)):
            up += [Unfold(before, width), *blocks(width)]
        self.decoder = nn.Sequential(*up, Conv(widths[0], folded, stem))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def size_multiple(self) -> int:
        """What height and width of images must be multiples of."""
        return self.factor

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the coded source (B, 3, H, W) of x (B, 6, H, W): a state, which has no effect, and the source."""
        source = x[:, 3:]
        if self.training:
            return self.open(self.raw(source))
        return self.decode_image(self.encode_image(source)).to(x.dtype)

    def encode_image(self, image: Tensor) -> Tensor:
        """Return the latents (N, channels, h, w), float32, of images (N, 3, H, W)."""
        latents = (self.raw(image) - self.shift.view(1, -1, 1, 1)) * self.scale.view(1, -1, 1, 1)
        return latents.float()

    def decode_image(self, latents: Tensor) -> Tensor:
        """Return the images (N, 3, H, W), float32, of latents (N, channels, h, w)."""
        raw = latents.to(self.shift.dtype) / self.scale.view(1, -1, 1, 1) + self.shift.view(1, -1, 1, 1)
        return self.open(raw).float()

    def raw(self, image: Tensor) -> Tensor:
        """Return the latents (N, channels, h, w) of images (N, 3, H, W) before `shift` and `scale`."""
        folded = F.pixel_unshuffle(image.to(self.shift.dtype), self.config.patch)
        code = self.encoder(folded.contiguous(memory_format=torch.channels_last))
        bounded: Tensor = BOUND * torch.tanh(code / BOUND)
        return bounded

    def open(self, raw: Tensor) -> Tensor:
        """Return the images (N, 3, H, W) of latents (N, channels, h, w) before `shift` and `scale`."""
        return F.pixel_shuffle(self.decoder(raw.to(self.shift.dtype)), self.config.patch)

    @torch.no_grad()
    def begin(self, images: Tensor) -> None:
        """Set fresh weights to the principal components of the patches of images (N, 3, H, W).

        New blocks are the identity, so the network then is the best linear autoencoder of single patches, and training
        improves on it. It has one level, which holds all folded pixels; weights of others stay as they are.
        """
        one = len(self.config.multipliers) == 1 and self.config.channels >= 3 * self.config.patch**2
        if not one or any(bool(m.second.weight.any()) for m in self.modules() if isinstance(m, Block)):
            return
        patches = F.pixel_unshuffle(images.float(), self.config.patch).movedim(1, -1).flatten(0, 2)
        mean = patches.mean(0)
        _, vectors = torch.linalg.eigh(torch.cov(patches.T))
        basis = vectors.flip(1)[:, : self.channels].T
        scale = ((patches - mean) @ basis.T).std(0).max().clamp(min=1e-6) / SPREAD  # far from the bound
        identity = torch.eye(len(mean), device=mean.device)
        ends: tuple[tuple[Any, Tensor, Tensor], ...] = (
            (self.encoder[0], identity, torch.zeros_like(mean)),
            (self.encoder[-1], basis / scale, -(basis @ mean) / scale),
            (self.decoder[0], basis.T * scale, mean),
            (self.decoder[-1], identity, torch.zeros_like(mean)),
        )
        for conv, weight, bias in ends:
            middle = conv.kernel_size[0] // 2
            conv.weight.zero_()
            conv.weight[: weight.shape[0], : weight.shape[1], middle, middle] = weight
            conv.bias.zero_()[: len(bias)] = bias

    def calibrate(self, mean: Tensor, deviation: Tensor) -> None:
        """Set `shift` and `scale` from the mean and standard deviation (channels,) of raw latents."""
        self.shift.copy_(mean)
        self.scale.copy_(SPREAD / deviation.clamp(min=1e-6))


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut; a new block is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = Conv(channels, channels), zero(Conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.second(F.silu(self.first(F.silu(x))))
        return h + x


class Fold(nn.Module):
    """Half the size: squares of 2x2 positions are folded into channels."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv(4 * channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pixel_unshuffle(x, 2))


class Unfold(nn.Module):
    """Twice the size: channels are unfolded into squares of 2x2 positions."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, 4 * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)
