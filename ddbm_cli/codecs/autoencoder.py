"""Our own autoencoder as a codec; a run of `ddbm train --task autoencoder` makes its weights."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from ddbm_cli.codecs.codec import Codec, CodecConfig
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks import Autoencoder, AutoencoderConfig

LARGEST_WHOLE = 512
"""Sides of the largest image, in pixels, that is coded as a whole; larger ones are coded in tiles."""


class AutoencoderCodec(Autoencoder, Codec):
    """The autoencoder with the interface of codecs.

    Large images are coded in tiles, each with as much of its neighbourhood as it depends on: memory is bounded, and
    the result is that of the whole image, up to rounding.
    """

    def encode_image(self, image: Tensor) -> Tensor:
        return self._in_tiles(super().encode_image, image, self.channels, self.factor, 1)

    def decode_image(self, latents: Tensor) -> Tensor:
        return self._in_tiles(super().decode_image, latents, 3, 1, self.factor)

    def _in_tiles(self, code: Callable[[Tensor], Tensor], x: Tensor, channels: int, before: int, after: int) -> Tensor:
        """Return code(x), of so many channels.

        before, after: sides of one position of the latents in x and in the result.
        """
        height, width = (side // before for side in x.shape[-2:])
        side = LARGEST_WHOLE // self.factor
        if max(height, width) <= side:
            return code(x)
        made = x.new_empty(len(x), channels, height * after, width * after, dtype=torch.float32)
        for rows, columns in product(_spans(height, side, self.reach), _spans(width, side, self.reach)):
            part = code(x[..., rows.seen(before), columns.seen(before)])
            made[..., rows.own(after), columns.own(after)] = part[..., rows.inside(after), columns.inside(after)]
        return made


class _Span(NamedTuple):
    """A tile along one side: what it makes, from `begin` to `end`, and what it sees, from `first` to `last`."""

    first: int
    begin: int
    end: int
    last: int

    def seen(self, unit: int) -> slice:
        return slice(self.first * unit, self.last * unit)

    def own(self, unit: int) -> slice:
        return slice(self.begin * unit, self.end * unit)

    def inside(self, unit: int) -> slice:
        """Return what it makes, in what it sees."""
        return slice((self.begin - self.first) * unit, (self.end - self.first) * unit)


def _spans(whole: int, side: int, reach: int) -> list[_Span]:
    return [
        _Span(max(begin - reach, 0), begin, min(begin + side, whole), min(begin + side + reach, whole))
        for begin in range(0, whole, side)
    ]


@settings
class AutoencoderCodecConfig(AutoencoderConfig, CodecConfig):
    """The settings of the network `autoencoder`."""

    def create(self) -> AutoencoderCodec:
        return AutoencoderCodec(self)
