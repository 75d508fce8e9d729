"""Noise per image, not per batch.

Each image has its own stream, seeded by (seed, name, draw) and drawn on the CPU. The result for an image does not
depend on batch size, order, the other images, the device, or interruptions.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ddbm_cli.foundation.hashing import seed_of
from ddbm_cli.samplers.base import Noise


class NoiseSource:
    """Standard normal noise for a batch of images.

    Args:
        seed: the user's seed.
        names: a unique name of each image, such as its relative path.
        draw: number of the draw, where several are made of each image; one for all images, or one for each.
    """

    def __init__(self, seed: int, names: Sequence[str], draw: int | Sequence[int] = 0) -> None:
        draws = [draw] * len(names) if isinstance(draw, int) else draw
        seeds = [seed_of(f"{seed}\n{number}\n{name}") for name, number in zip(names, draws, strict=True)]
        self._streams = [torch.Generator().manual_seed(each) for each in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """Return the next noise of each stream, with the shape (B, C, H, W), dtype and device of `like`."""
        if len(like) != len(self._streams):
            raise ValueError(f"{len(self._streams)} noise streams for a batch of {len(like)}")
        noise = [torch.randn(like.shape[1:], generator=stream, dtype=torch.float32) for stream in self._streams]
        return torch.stack(noise).to(like)


class Slerp:
    """Spherical interpolation between two noises; every point on it is standard normal.

    Args:
        first, second: independent noises of the same batch.
        fractions: (B,), 0 is the first and 1 the second.
    """

    def __init__(self, first: Noise, second: Noise, fractions: Sequence[float]) -> None:
        self._ends = first, second
        self._angles = torch.tensor(fractions, dtype=torch.float64).view(-1, 1, 1, 1) * math.pi / 2

    def __call__(self, like: Tensor) -> Tensor:
        first, second = (end(like) for end in self._ends)
        return self._angles.cos().to(like) * first + self._angles.sin().to(like) * second
