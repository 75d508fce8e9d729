"""Encoding (DBIM, arXiv:2405.15885, sec. 4.3): the noise from which the deterministic sampler generates an image.

With eta = 0 the only noise is that of the start: the booting noise of a bridge, the first state of a prior. The
implicit step works in both directions, so that it takes an image back to that noise; sampling with it decodes the
image, with an error that falls with the number of steps.
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

    `sample` with this noise, `Implicit()` and `Booted()` (for a prior, `Prior()`) on the same times is the inverse.

    Args:
        target, source: (B, C, H, W) in -1..1; for a prior, only the shape of the source is used.
        times: falling, as for sampling; the target is taken as the state at the last time that has noise.

    Raises:
        UsageError: the path has no noise.
    """
    if path.noise_free:
        raise UsageError(
            f"path '{path.name}' draws no noise, so that images cannot be encoded", hint="use a bridge with noise"
        )
    bridge = Bridge(path, source, torch.zeros_like)
    return drive(_trajectory(bridge, target, times), denoise, bridge)


def encoding_evaluations(path: ProbabilityPath, times: Tensor) -> int:
    """Return the number of network calls that `encode` will make."""
    return len(_rising(path, times)) - path.source_free


def _rising(path: ProbabilityPath, times: Tensor) -> Tensor:
    rising: Tensor = torch.unique(times.clamp(min=path.t_min))
    return rising


def _trajectory(bridge: Bridge, target: Tensor, times: Tensor) -> Trajectory:
    path, source, x = bridge.path, bridge.source, target
    rising = _rising(path, times)
    for t, s in pairwise(rising):
        x = yield from Implicit().step(bridge, x, Interval(t, s, last=False), [])
    if path.source_free:
        return x / path.coefficients(rising[-1]).c
    x0 = yield Query(source, rising.new_tensor(path.t_max))
    return path.eps(x, x0, source, rising[-1])
