"""Heun's method on the probability-flow ODE, from a drawn state.

The slope of the ODE is infinite at the source. A draw from the path at the first time of the grid leaves that place, as
ODES3 (arXiv:2412.19992) does with posterior sampling at its first step. That paper's first time and grid are not
known: here they are those of the grid, whose `gap` is the distance of the first time from the source.
"""

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Sampler, Trajectory
from ddbm_cli.samplers.heun import DEFAULT_MIN_RATIO, HybridHeun


@settings
class BootedHeun(Sampler):
    """`heun:churn=0` after a drawn start: one evaluation, then two per step and one in a step to 0.

    min_ratio: as of `heun`.
    """

    name: ClassVar[str] = "booted-heun"
    needs_noise: ClassVar[bool] = True

    min_ratio: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def convergence_order(self) -> float:
        return 2

    @property
    def _heun(self) -> HybridHeun:
        return HybridHeun(churn=0.0, min_ratio=self.min_ratio)

    def planned(self) -> "BootedHeun":
        return replace(self, min_ratio=DEFAULT_MIN_RATIO) if self.min_ratio is None else self

    def evaluations(self, path: ProbabilityPath, times: Tensor) -> int:
        return self._heun.evaluations(path, times)

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        return (yield from self._heun.step(bridge, x, interval, history))
