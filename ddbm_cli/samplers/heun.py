"""DDBM's hybrid sampler (arXiv:2309.16948, Alg. 1): each step is part SDE, part ODE.

The first share `churn` of a step is one Euler-Maruyama step of the reverse SDE, the rest one step of Heun's method on
the probability-flow ODE. A step to time 0 ends with Euler, for the slope at 0 does not exist. Without churn it is
EDM's deterministic sampler (arXiv:2206.00364, Alg. 1).

Guidance w weighs Doob's term h = grad log p(x_T | x_t) in both drifts; 1 is the bridge itself:

    SDE drift = f x - g^2 (score - w h),   ODE drift = f x - g^2 (score / 2 - w h)

The released code defines w differently for VE: its w is `doob_weight` (1 + w) / 2 and `churn_doob_weight` 1 here.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory


@settings
class HybridHeun(Sampler):
    """Order 2 where it is an ODE; 3 evaluations a step with churn, 2 without, one less in a step to 0.

    churn: share of each step that is done as SDE.
    doob_weight: w. churn_doob_weight: w of the SDE part, the same when not given.
    """

    name: ClassVar[str] = "heun"
    home_grid: ClassVar[str] = "karras"
    home_start: ClassVar[str] = "pinned"

    churn: Annotated[float, Field(ge=0, le=1)] = 0.33
    doob_weight: Annotated[float, Field(ge=0)] = 1.0
    churn_doob_weight: Annotated[float, Field(ge=0)] | None = None

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, source, (t, s) = bridge.path, bridge.source, (interval.t, interval.s)
        if self.churn > 0:
            middle = t + self.churn * (s - t)
            x0 = yield Query(x, t)
            doob_weight = self.doob_weight if self.churn_doob_weight is None else self.churn_doob_weight
            drift = path.reverse_drift(x, x0, source, t) + doob_term(path, x, source, t, doob_weight)
            noise = bridge.noise(x) * (path.diffusion_squared(t) * (t - middle)).sqrt()
            x, t = x + drift * (middle - t) + noise, middle
        x0 = yield Query(x, t)
        slope = path.velocity(x, x0, source, t) + doob_term(path, x, source, t, self.doob_weight)
        end = x + slope * (s - t)
        if s == 0:
            return end
        x0 = yield Query(end, s)
        slope_end = path.velocity(end, x0, source, s) + doob_term(path, end, source, s, self.doob_weight)
        return x + (slope + slope_end) / 2 * (s - t)


def doob_term(path: ProbabilityPath, x: Tensor, source: Tensor, t: Tensor, doob_weight: float) -> Tensor | float:
    """Return (w - 1) g^2 h, which turns the bridge's own drift into that of doob_weight w."""
    if doob_weight == 1:
        return 0.0
    return (doob_weight - 1) * path.diffusion_squared(t) * path.doob_h(x, source, t)
