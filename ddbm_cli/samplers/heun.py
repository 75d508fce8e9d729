"""DDBM's hybrid sampler (arXiv:2309.16948, Alg. 1): each step is part SDE, part ODE.

The first fraction `churn` of a step is one Euler-Maruyama step of the reverse SDE, the rest one step of Heun's method
on the probability-flow ODE. A step to time 0 ends with Euler, because the slope at 0 does not exist. Without churn it
is EDM's deterministic sampler (arXiv:2206.00364, Alg. 1).

Doob's weight w multiplies Doob's term h = grad log p(x_T | x_t) in both drifts; 1 is the bridge itself:

    SDE drift = f x - g^2 (score - w h),   ODE drift = f x - g^2 (score / 2 - w h)

The released code defines w differently for VE: its w is `doob_weight` (1 + w) / 2 and `churn_doob_weight` 1 here.

Heun's second slope divides by the noise c at the end of the step. Where the noise-to-signal ratio c / b, or c of a
prior, falls by a large factor in one step, this amplifies the error of the first slope; see `min_ratio`.
"""

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory, both_ends

DEFAULT_MIN_RATIO = 0.1
"""`min_ratio` of plans. On the default model without churn, leaving out the slopes below it lowers the error at every
number of steps: from 2.1 to 0.14 with 3 steps, from 0.15 to 0.10 with 5, from 0.112 to 0.110 with 15 (root mean square
difference to 60 steps)."""

SAFE_RATIO = 0.3
"""Smallest ratio of c / b across a step at which the SDE part leaves no visible noise; measured on the same model."""


@settings
class HybridHeun(Sampler):
    """3 evaluations per step with churn, 2 without, one less in a step to 0 and where the second slope is left out.

    churn: fraction of each step that is done as SDE.
    doob_weight: w. churn_doob_weight: w of the SDE part, the same when not given.
    min_ratio: leave out the second slope where c / b (c of a prior) falls below this fraction of its value at the
        first slope. Not given: 0.1 in a plan; 0, never, elsewhere. 0 is the released code's sampler.
    """

    name: ClassVar[str] = "heun"
    default_start: ClassVar[str] = "pinned"

    churn: Annotated[float, Field(ge=0, le=1)] = 0.33
    doob_weight: Annotated[float, Field(ge=0)] = 1.0
    churn_doob_weight: Annotated[float, Field(ge=0)] | None = None
    min_ratio: Annotated[float, Field(ge=0, le=1)] | None = None

    @property
    def convergence_order(self) -> float:
        return 1 if self.stochastic else 2

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    def planned(self) -> "HybridHeun":
        return replace(self, min_ratio=DEFAULT_MIN_RATIO) if self.min_ratio is None else self

    def evaluations(self, path: ProbabilityPath, times: Tensor) -> int:
        t, s = times[:-1], times[1:]
        first_slopes = (1 + self.stochastic) * len(t)
        return first_slopes + int(self._corrected(path, self._middle(t, s), s).sum())

    def warning(self, path: ProbabilityPath, times: Tensor) -> str | None:
        t, s = times[:-1], times[1:]
        inner = s > 0
        if not self.stochastic or path.noise_free or not inner.any():
            return None
        least = float(_ratio(path, self._middle(t, s), s)[inner].min())
        if least >= SAFE_RATIO:
            return None
        return f"sampler 'heun' with churn leaves noise in the result at {len(t)} steps"

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, source, (t, s) = bridge.path, bridge.source, (interval.t, interval.s)
        if self.stochastic:
            middle = self._middle(t, s)
            x0 = yield Query(x, t)
            weight = self.doob_weight if self.churn_doob_weight is None else self.churn_doob_weight
            drift = path.reverse_drift(x, x0, source, t) + doob_term(path, x, source, t, weight)
            noise = bridge.noise(x) * (path.diffusion_squared(t) * (t - middle)).sqrt()
            x, t = x + drift * (middle - t) + noise, middle
        x0 = yield Query(x, t)
        slope = path.velocity(x, x0, source, t) + doob_term(path, x, source, t, self.doob_weight)
        end = x + slope * (s - t)
        if not self._corrected(path, t, s):
            return end
        x0, source = yield from both_ends(bridge, end, s)
        slope_end = path.velocity(end, x0, source, s) + doob_term(path, end, source, s, self.doob_weight)
        return x + (slope + slope_end) / 2 * (s - t)

    def _middle(self, t: Tensor, s: Tensor) -> Tensor:
        """Return the time where the SDE part ends."""
        return t + self.churn * (s - t)

    def _corrected(self, path: ProbabilityPath, t: Tensor, s: Tensor) -> Tensor:
        """Return where (bool, shape of t) a step of Heun's method from t to s takes the second slope."""
        corrected = s > 0
        if not self.min_ratio or path.noise_free:
            return corrected
        return corrected & (_ratio(path, t, s) >= self.min_ratio)


def _ratio(path: ProbabilityPath, t: Tensor, s: Tensor) -> Tensor:
    """Return c / b at s relative to c / b at t; of a prior c alone, since near its start b, not c, makes the ratio."""
    if path.source_free:
        return path.coefficients(s).c / path.coefficients(t).c
    return torch.exp((path.log_snr(t) - path.log_snr(s)) / 2)


def doob_term(path: ProbabilityPath, x: Tensor, source: Tensor, t: Tensor, weight: float) -> Tensor | float:
    """Return (w - 1) g^2 h, which turns the bridge's own drift into the drift with Doob's weight w.

    It is 0 on a noise-free path, where g = 0.
    """
    if weight == 1 or path.noise_free:
        return 0.0
    return (weight - 1) * path.diffusion_squared(t) * path.doob_h(x, source, t)
