"""Encoding (DBIM, arXiv:2405.15885, sec. 4.3): the noise that the deterministic sampler would make a picture from.

With eta = 0 all that is random in a picture is the noise it starts with: the booting noise of a bridge, the first
state of a prior. The implicit step holds in both directions, so from a picture it leads back to that noise; sampling
with it decodes, up to an error that falls with the steps.
"""

from collections.abc import Generator
from itertools import pairwise

import torch
from torch import Tensor

from ddbm_cli.denoisers import Denoise
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Evaluation, Interval, Query, Trajectory, drive
from ddbm_cli.samplers.implicit import Implicit


def encode(
    denoise: Denoise, path: ProbabilityPath, target: Tensor, source: Tensor, times: Tensor
) -> Generator[Evaluation, None, Tensor]:
    """Yield every network evaluation, and return the noise (B, C, H, W), about standard normal, of a target.

    `sample` with this noise, `Implicit()`, and `Booted()` (of a prior, `Prior()`) on the same times is the way back.

    Args:
        target, source: (B, C, H, W) in -1..1; of a prior, the source only stands for the shape.
        times: falling, as for sampling; the target is taken as a state at the last one that has noise.

    Raises:
        UsageError: the path has no noise that a target could be encoded in.
    """
    if path.noise_free:
        raise UsageError(
            f"path '{path.name}' draws no noise, and nothing can be encoded in it", hint="use a bridge with noise"
        )
    return drive(_trajectory(Bridge(path, source, torch.zeros_like), target, times), denoise, source)


def _trajectory(bridge: Bridge, target: Tensor, times: Tensor) -> Trajectory:
    path, source, x = bridge.path, bridge.source, target
    rising: Tensor = torch.unique(times.clamp(min=path.t_min))
    for t, s in pairwise(rising):
        x = yield from Implicit().step(bridge, x, Interval(t, s, last=False), [])
    if path.source_free:
        return x / path.coefficients(rising[-1]).c
    x0 = yield Query(source, rising.new_tensor(path.t_max))
    return path.eps(x, x0, source, rising[-1])
