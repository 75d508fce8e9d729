"""LBM's sampler (arXiv:2503.07535): Euler's method for the drift of the estimate, with fresh noise between the steps.

    x_s = x_t + (s - t) (x_t - x_0) / t + c_s eps                          (1)

On a Brownian bridge (x_t - x_0) / t is the drift of its reverse SDE, and without noise that of the line through state
and estimate. The noise of a step is added to what is left of the one before. So it is not that of the path, and more
steps do not converge to its distribution: the noise of LBM's paths is small.
"""

from typing import ClassVar

from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory


@settings
class LBM(Sampler):
    """One evaluation per step; the last step goes to the estimate."""

    name: ClassVar[str] = "lbm"
    default_start: ClassVar[str] = "pinned"

    @property
    def convergence_order(self) -> float:
        return 0

    @property
    def stochastic(self) -> bool:
        return True

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        t, s = interval.t, interval.s
        x0 = yield Query(x, t.clamp(max=bridge.path.at_source))
        x = x0 + (s / t) * (x - x0)
        if interval.last or bridge.path.noise_free:
            return x
        return x + bridge.path.coefficients(s).c * bridge.noise(x)
