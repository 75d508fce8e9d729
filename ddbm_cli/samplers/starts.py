"""Start rules: how the first state is made from the source.

At t_max a bridge is the source itself, b = c = 0, so that no quantity that divides by b or c exists. Each rule gives a
state at a time below t_max.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import VP, ProbabilityPath, reference
from ddbm_cli.samplers.base import Bridge, Query, Start, Trajectory


@settings
class Pinned(Start):
    """The source itself, used as the state just below t_max (DDBM, arXiv:2309.16948)."""

    name: ClassVar[str] = "pinned"

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        return bridge.source
        yield  # a coroutine that asks for nothing


@settings
class Booted(Start):
    """One evaluation at the source, then a draw from the path (DBIM's booting noise, arXiv:2405.15885)."""

    name: ClassVar[str] = "booted"
    evaluations: ClassVar[int] = 1

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        path, source = bridge.path, bridge.source
        x0 = yield Query(source, t.new_tensor(path.t_max))
        state = path.mean(x0, source, t)
        return state if path.noise_free else state + path.coefficients(t).c * bridge.noise(state)


@settings
class Drawn(Start):
    """A draw from the path at the first time without its target, a x_T + c eps: near the source b is small.

    For networks that need the noise of every state, such as those of diffusion models.
    """

    name: ClassVar[str] = "drawn"

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        a, _, c = bridge.path.coefficients(t)
        return a * bridge.source + c * bridge.noise(bridge.source)
        yield  # a coroutine that asks for nothing


@settings
class Prior(Start):
    """Noise of the path's strength, from which a prior generates images.

    A bridge is sampled as its reference process: the source is the noise, and the network gets the state alone.
    """

    name: ClassVar[str] = "prior"

    def path(self, path: ProbabilityPath) -> ProbabilityPath:
        return reference(path)

    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        return bridge.path.coefficients(t).c * bridge.noise(bridge.source)
        yield  # a coroutine that asks for nothing


@settings
class NoisedStart(Start):
    """The source with noise of a chosen level, b x_T + c eps (SDEdit, arXiv:2108.01073).

    strength: the noise level sigma = c / b, as the time at which the path `VP()` has it. It has the same effect on
        every prior: 0.2 is 0.72, 0.4 is 2.0, 0.6 is 6.1, 0.8 is 25, for images in -1..1. At 0 the result is the
        source; at 1 sampling begins at t_max, where almost nothing of the source is left.
    repeats: number of rounds, each with the last result as the source; 1 to 3 in the paper.
    """

    name: ClassVar[str] = "noised"

    strength: Annotated[float, Field(ge=0, le=1)] = 0.6
    repeats: Annotated[int, Field(ge=1, le=100)] = 1

    @property
    def rounds(self) -> int:
        return self.repeats

    def path(self, path: ProbabilityPath) -> ProbabilityPath:
        return reference(path)

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
