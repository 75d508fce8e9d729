"""The implicit step (DBIM, arXiv:2405.15885, eq. 13): replace the estimate of the target, keep or redraw the noise.

    x_s = a_s x_T + b_s x0 + sqrt(c_s^2 - omega^2) eps + omega eps'               (1)
    omega = eta c_s sqrt(1 - (c_s b_t / (c_t b_s))^2)                             (2), `redrawn` of the path

At eta = 1 the chain is the Markov bridge: I2SB's and BBDM's sampling, and DDPM's where a = 0. At eta = 0 it is
deterministic: DDIM where a = 0. Where c = 0 everywhere there is no eps, and the source is computed from the state:

    x_s = b_s x0 + (a_s / a_t) (x_t - b_t x0)                                     (3), I2SB's OT-ODE

At t_max itself, where b = c = 0, the state is the source and has no noise to keep, so all of it is drawn.

Where a = 0, with y = x / b and sigma = c / b, (1) is k-diffusion's Euler step in sigma at eta = 0, and its
Euler-ancestral step at eta = 1, with sigma_up = omega / b_s:

    y_s = x0 + sigma_down (y_t - x0) / sigma_t + sigma_up eps',    sigma_down^2 + sigma_up^2 = sigma_s^2      (4)
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory


@settings
class Implicit(Sampler):
    """One evaluation per step; any eta keeps the marginals. The last step adds no noise, as in the released code.

    eta: fraction of the noise that is redrawn, from 0 (deterministic after the start) to 1 (Markov).
    """

    name: ClassVar[str] = "implicit"

    eta: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, t, s = bridge.path, interval.t, interval.s
        x0 = yield Query(x, t)
        if s == 0 and self.eta == 0:  # a table has noise left at time 0
            return x0
        now, then = path.coefficients(t), path.coefficients(s)
        if path.noise_free:
            return then.b * x0 + then.a / now.a * (x - now.b * x0)
        if now.c == 0:
            state = then.mean(x0, bridge.source)
            return state if interval.last else state + then.c * bridge.noise(x)
        omega = self.eta * path.redrawn(t, s)
        eps = path.eps(x, x0, bridge.source, t)
        state = then.mean(x0, bridge.source) + (then.c**2 - omega**2).sqrt() * eps
        if self.eta == 0 or interval.last:
            return state
        return state + omega * bridge.noise(x)
