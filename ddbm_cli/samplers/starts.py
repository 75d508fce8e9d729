"""Start rules: how the first state comes from the source.

At t_max itself a bridge is the source with no noise, b = c = 0, and nothing can be divided by; each rule leaves that
point in its own way.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import VP, ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Query, Start, Trajectory


@settings
class Pinned(Start):
    """The source itself, taken as the state a little before t_max (DDBM, arXiv:2309.16948)."""

    name: ClassVar[str] = "pinned"

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        return bridge.source
        yield  # a coroutine that asks for nothing


@settings
class Booted(Start):
    """One call at t_max, then a draw from the path about its estimate (DBIM's booting noise, arXiv:2405.15885)."""

    name: ClassVar[str] = "booted"
    evaluations: ClassVar[int] = 1

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        path, source = bridge.path, bridge.source
        x0 = yield Query(source, t.new_tensor(path.t_max))
        state = path.mean(x0, source, t)
        return state if path.noise_free else state + path.coefficients(t).c * bridge.noise(state)


@settings
class Prior(Start):
    """Noise of the path's strength: for source-free paths (a = 0), which make pictures from nothing.

    On a bridge the source itself is that noise. If the network does not look at it, this is plain diffusion: the
    reverse SDE is that of the reference process, and its ODE is the bridge's with `doob_weight` 1/2, for by Bayes' rule

        score of the reference process = score of the bridge - Doob's h
    """

    name: ClassVar[str] = "prior"

    def source(self, bridge: Bridge) -> Tensor:
        path = bridge.path
        return bridge.source if path.source_free else path.sigma_T * bridge.noise(bridge.source)

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        path = bridge.path
        return path.coefficients(t).c * bridge.noise(bridge.source) if path.source_free else bridge.source
        yield  # a coroutine that asks for nothing


@settings
class NoisedStart(Start):
    """The source as a guide, b x_T + c eps, at a noise level on the way (SDEdit, arXiv:2108.01073).

    strength: the noise level sigma = c / b, told as the time where the VP process of `VP()` has it, so that it means
        the same on every source-free path: 0.2 is 0.72, 0.4 is 2.0, 0.6 is 6.1, 0.8 is 25, in units of -1..1.
        0 is the guide itself; 1 is the path's own beginning, where next to nothing of it is left.
    repeats: how often it is done, each time with the last result as the guide; 1 to 3 in the paper.
    """

    name: ClassVar[str] = "noised"

    strength: Annotated[float, Field(ge=0, le=1)] = 0.6
    repeats: Annotated[int, Field(ge=1, le=100)] = 1

    @property
    def rounds(self) -> int:
        return self.repeats

    def first(self, path: ProbabilityPath) -> Tensor:
        if self.strength == 1:
            return torch.tensor(path.t_max, dtype=torch.float64)
        return path.time_at(VP().log_snr(torch.tensor(self.strength, dtype=torch.float64)))

    def sigma(self, path: ProbabilityPath) -> float:
        """Return the noise level that sampling begins at."""
        return float(torch.exp(-path.log_snr(self.first(path)) / 2))

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        _, b, c = bridge.path.coefficients(t)
        return b * bridge.source + c * bridge.noise(bridge.source)
        yield  # a coroutine that asks for nothing
