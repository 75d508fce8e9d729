"""Images larger than a model: estimates of overlapping tiles are blended on one canvas, at every evaluation.

    D(x, t, x_T) = sum_i w_i D(tile_i of x, t, tile_i of x_T) / sum_i w_i                                       (1)

The sampler then updates the whole canvas, with noise drawn once for it. So tiles agree after every step, and there are
no seams to hide afterwards (MultiDiffusion, arXiv:2302.08113, with estimates of x_0 in place of states). The weights
w_i fall to 0 towards the edges of a tile, by a raised cosine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ddbm_cli.denoisers.denoiser import Denoise

LEAST_WEIGHT = 1e-3
"""Weight at the outermost position of a tile, so that (1) is defined everywhere."""


@dataclass(frozen=True)
class Tiles:
    """How states are divided: the arguments of `tiled`."""

    size: tuple[int, int]
    overlap: int
    at_once: int


def tiled(denoise: Denoise, size: tuple[int, int], overlap: int, *, at_once: int = 4) -> Denoise:
    """Wrap a denoiser so that no call is of more than one tile for each image, or of `at_once` tiles of one image.

    Args:
        denoise: for states of `size`.
        size: (height, width) of a tile, in positions of the states.
        overlap: positions that neighbours share, at least; 0 or more, less than a tile's sides.
        at_once: number of tiles in one call, where there is a single image.

    Raises:
        ValueError: the overlap is as large as a tile, or negative.
    """
    if not 0 <= overlap < min(size):
        raise ValueError(f"an overlap of {overlap} for tiles of {size}")

    def estimate(x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        places = [starts(whole, tile, overlap) for whole, tile in zip(x.shape[-2:], size, strict=True)]
        if all(len(each) == 1 for each in places):
            return denoise(x, t, source)
        height, width = (min(tile, whole) for tile, whole in zip(size, x.shape[-2:], strict=True))
        windows = [(slice(top, top + height), slice(left, left + width)) for top, left in product(*places)]
        weight = _weight(height, x.shape[-2], overlap)[:, None] * _weight(width, x.shape[-1], overlap)[None, :]
        weight = weight.to(x)
        total = torch.zeros_like(x)
        share = x.new_zeros(x.shape[-2:])
        step = at_once if len(x) == 1 else 1
        for first in range(0, len(windows), step):
            part = windows[first : first + step]
            states, sources = (torch.cat([each[..., down, across] for down, across in part]) for each in (x, source))
            estimates = denoise(states, t, sources)
            for (down, across), tile in zip(part, torch.split(estimates, len(x)), strict=True):
                total[..., down, across] += weight * tile
                share[down, across] += weight
        return total.div_(share)

    return estimate


def in_tiles(make: Callable[[Tensor | None], Denoise], noise: Tensor | None, tiles: Tiles) -> Denoise:
    """Return `tiled` of a denoiser with channels of noise (B, N, H, W), which are divided as the states are.

    Args:
        make: returns the denoiser with given channels.
        noise: None for a network without such channels.
    """
    if noise is None:
        return tiled(make(None), tiles.size, tiles.overlap, at_once=tiles.at_once)
    count = noise.shape[1]
    inner = tiled(
        lambda x, t, both: make(both[:, -count:])(x, t, both[:, :-count]),
        tiles.size,
        tiles.overlap,
        at_once=tiles.at_once,
    )
    return lambda x, t, source: inner(x, t, torch.cat([source, noise], 1))


def starts(whole: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin along one side: evenly spread, from 0 to the last place that fits."""
    if tile >= whole:
        return [0]
    count = math.ceil((whole - overlap) / (tile - overlap))
    return [round(index * (whole - tile) / (count - 1)) for index in range(count)]


def _weight(tile: int, whole: int, overlap: int) -> Tensor:
    """Return the weights (tile,) along one side: a raised cosine over the overlap at both ends, 1 between."""
    weight = torch.ones(tile, dtype=torch.float64)
    reach = min(overlap, tile // 2)
    if tile < whole and reach:
        rise = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(reach, dtype=torch.float64) + 0.5) / reach)
        rise = rise.clamp(min=LEAST_WEIGHT)
        weight[:reach] = rise
        weight[-reach:] = rise.flip(0)
    return weight
