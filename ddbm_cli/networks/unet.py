"""A light U-Net: one strided convolution for each level down and up, as in pix2pix (arXiv:1611.07004), and a time.

A level costs one convolution where ADM's has four and more, so that the highest level can have the size of the image:
what a sketch shows finely passes to the output at once, and the narrowest level sees the whole image. Where that costs
too much, the highest level has the size of patches of the image: their pixels become channels (arXiv:1609.05158).
"""

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.blocks import GroupNorm, label_features, normal, silu, time_features, zero
from ddbm_cli.networks.detect import IMAGE_CHANNELS

GROUPS = 8
"""Groups of a normalisation, at most."""

WIDEST = 8
"""Channels grow by halvings of the size up to this many times the first level's."""

LITTLE = 0.01
"""Amount of ink, 0..1, at which the colours of a place and of its surroundings count alike in `filled`."""

DROPPED = 3
"""Levels on the way up, from the narrowest on, that have dropout, as the first three of pix2pix's decoder have."""

EMBEDDING = 128
"""Numbers of the embedding of time and label."""


@settings
class UNetConfig:
    """A light U-Net of strided convolutions.

    in_channels: of x_t and x_T together. channels: after the first halving; half as many before it. depth: halvings of
    the size; 7 for 128 pixels. patch: side of the patches whose pixels are channels of the first level. fills: give the
    network a third image, the source whose paper is filled with the colours of its lines; see `filled`. dropout: of the
    three narrowest levels on the way up, against memorising training images. classes: number of labels; None for a
    network without classes.
    """

    name: ClassVar[str] = "unet"
    at_once: ClassVar[bool] = False

    in_channels: Annotated[int, Field(ge=1, le=2**14)] = 6
    out_channels: Annotated[int, Field(ge=1, le=2**14)] = 3
    channels: Annotated[int, Field(ge=2, le=2**12, multiple_of=2)] = 32
    depth: Annotated[int, Field(ge=1, le=12)] = 7
    patch: Annotated[int, Field(ge=1, le=16)] = 1
    fills: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    classes: Annotated[int, Field(ge=1, le=2**20)] | None = None

    @property
    def inputs(self) -> int:
        """Channels that the first level gets of each pixel."""
        return self.in_channels + (self.out_channels if self.fills else 0)

    @property
    def widths(self) -> list[int]:
        """Channels of each level, that of the image first."""
        return [self.channels // 2, *(self.channels * min(2**level, WIDEST) for level in range(self.depth))]

    def largest_activation(self, width: int, height: int) -> int:
        """Return how many numbers the largest activation of an image has."""
        patches = math.ceil(width / self.patch) * math.ceil(height / self.patch)
        return max(self.channels, self.patch**2 * max(self.inputs, self.out_channels)) * patches

    def most_positions(self, width: int, height: int) -> int:
        """Return how many positions attend to each other: none do."""
        return 0

    def create(self) -> "UNet":
        """Return the network with fresh weights.

        Raises:
            UsageError: fills is set and there is no source of 3 channels.
        """
        if self.fills and (self.out_channels != IMAGE_CHANNELS or self.in_channels < 2 * IMAGE_CHANNELS):
            raise UsageError(
                "unet:fills=true needs sources that are images in colour",
                hint="leave out fills: it is for models of pixels that get the source",
            )
        return UNet(self)


class UNet(nn.Module):
    """F(x, time), or F(x, time, label); it begins as 0.

    The output is what the last layer computes, plus the images of the input, each with a weight for each pixel that the
    last layer computes too. Height and width of the input must be multiples of `size_multiple`.
    """

    first_layer: ClassVar[str] = "first.weight"
    patch_layers: ClassVar[dict[str, int]] = {"first.weight": 1, "out.weight": 0, "out.bias": 0}

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.images = config.inputs // config.out_channels
        self.time_embed = nn.Sequential(
            nn.Linear(2 * config.channels, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING)
        )
        if config.classes is not None:
            self.label_emb = nn.Embedding(config.classes, EMBEDDING, _weight=normal(config.classes, EMBEDDING))
        pixels = config.patch**2
        self.first = nn.Conv2d(config.inputs * pixels, widths[0], 3, padding=1)
        levels = range(config.depth)
        # The narrowest level may be a single position, which no normalisation would leave a difference.
        self.down = nn.ModuleList(
            Level(nn.Conv2d(widths[n], widths[n + 1], 4, 2, 1), normalised=n + 1 < config.depth) for n in levels
        )
        self.up = nn.ModuleList(
            Level(
                nn.ConvTranspose2d(widths[n + 1] * (1 if n + 1 == config.depth else 2), widths[n], 4, 2, 1),
                dropout=config.dropout if n >= config.depth - DROPPED else 0.0,
            )
            for n in reversed(levels)
        )
        self.last = nn.Conv2d(2 * widths[0], widths[0], 3, padding=1)
        self.out = zero(nn.Conv2d(widths[0], (config.out_channels + self.images) * pixels, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def size_multiple(self) -> int:
        """What height and width must be multiples of."""
        return int(self.config.patch * 2**self.config.depth)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """Return F (B, out_channels, H, W), computed in the dtype of the weights.

        Args:
            x: (B, in_channels, H, W).
            time: (B,), or (1,) for the whole batch: the input of the time embedding.
            label: (B,) integers, or (1,) for all, for networks with classes; negative, or None, for no label.
        """
        dtype = self.first.weight.dtype
        embedding = self.time_embed(time_features(time, 2 * self.config.channels).to(dtype))
        if label is not None:
            embedding = embedding + label_features(self.label_emb, label)
        channels = self.config.out_channels
        if self.config.fills:
            x = torch.cat([x, filled(x[:, channels : 2 * channels])], dim=1)
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        kept = [self.first(nn.functional.pixel_unshuffle(x, self.config.patch))]
        for down in self.down:
            kept.append(down(kept[-1], embedding))
        h = kept.pop()
        for up in self.up:
            h = torch.cat([up(h, embedding), kept.pop()], dim=1)
        out = nn.functional.pixel_shuffle(self.out(silu(self.last(silu(h)))), self.config.patch)
        own, weights = out.split((channels, self.images), dim=1)
        images = x[:, : self.images * channels].unflatten(1, (self.images, channels))
        result: Tensor = own + (weights[:, :, None] * images).sum(1)
        return result


class Level(nn.Module):
    """A convolution to half or twice the size; the embedding scales and shifts its result."""

    def __init__(
        self, convolution: nn.Conv2d | nn.ConvTranspose2d, *, normalised: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels = convolution.out_channels
        self.convolution = convolution
        self.enlarges = isinstance(convolution, nn.ConvTranspose2d)
        self.norm = GroupNorm(math.gcd(GROUPS, channels), channels) if normalised else nn.Identity()
        self.embed = zero(nn.Linear(EMBEDDING, 2 * channels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.embed(nn.functional.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.convolution(nn.functional.silu(x))
        if self.enlarges:
            h = smoothed(h)
        result: Tensor = self.dropout(self.norm(h) * (1 + scale) + shift)
        return result


def filled(source: Tensor) -> Tensor:
    """Return a drawing (B, C, H, W), -1..1, whose white paper has the colours of the lines around it.

    They are weighted by their distance from white, and by how much of them there is, at all scales (pull and push,
    Gortler et al. 1996). The colour of a thin line reaches the whole area that it bounds, where convolutions mix it
    with the white of the paper. Sides that are no power of 2 are completed with paper.
    """
    height, width = source.shape[-2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    ink = (1 - source.float()) / 2
    ink = nn.functional.pad(ink, (0, side - width, 0, side - height))
    amount = ink.amax(1, keepdim=True).square()  # the pale edges of lines count little
    pulled = [(ink * amount, amount)]
    while pulled[-1][1].shape[-1] > 1:
        pulled.append((nn.functional.avg_pool2d(pulled[-1][0], 2), nn.functional.avg_pool2d(pulled[-1][1], 2)))
    total, amount = pulled.pop()
    colour = total / amount.clamp(min=1e-6)
    for total, amount in reversed(pulled):
        colour = nn.functional.interpolate(colour, scale_factor=2, mode="bilinear")
        colour = (total + LITTLE * colour) / (amount + LITTLE)
    return (1 - 2 * colour[..., :height, :width]).to(source)


def smoothed(x: Tensor) -> Tensor:
    """Return x (B, C, H, W) filtered by (1, 2, 1) / 4 along both sides.

    What alternates from pixel to pixel becomes 0, as the checkerboard that transposed convolutions leave does.
    """
    x = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    return nn.functional.avg_pool2d(nn.functional.avg_pool2d(x, 2, stride=1), 2, stride=1)
