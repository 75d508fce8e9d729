"""The implicit step (DBIM, arXiv:2405.15885, eq. 13): replace the target's estimate, keep or renew the noise.

    x_s = a_s x_T + b_s x0 + sqrt(c_s^2 - omega^2) eps + omega eps'               (1)
    omega = eta c_s sqrt(1 - (c_s b_t / (c_t b_s))^2)                             (2)

At eta = 1 the chain is the Markov bridge, which is I2SB's and BBDM's sampling, and DDPM's where a = 0; at eta = 0 it
is deterministic, DDIM where a = 0. Where c = 0 everywhere there is no eps, and the source is taken from the state:

    x_s = b_s x0 + (a_s / a_t) (x_t - b_t x0)                                     (3), I2SB's OT-ODE

At t_max itself, where b = c = 0, the state is the source and there is no noise to keep: all of it is drawn.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory


@settings
class Implicit(Sampler):
    """One evaluation a step; any eta keeps the marginals. The last step adds no noise, as in the released code.

    eta: share of the noise that is drawn anew, from 0 (repeatable) to 1 (most varied).
    """

    name: ClassVar[str] = "implicit"

    eta: Annotated[float, Field(ge=0, le=1)] = 0.0

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, t, s = bridge.path, interval.t, interval.s
        x0 = yield Query(x, t)
        now, then = path.coefficients(t), path.coefficients(s)
        if path.noise_free:
            return then.b * x0 + then.a / now.a * (x - now.b * x0)
        if now.c == 0:
            state = then.mean(x0, bridge.source)
            return state if interval.last else state + then.c * bridge.noise(x)
        kept_at_most = (then.c * now.b / (now.c * then.b)) ** 2
        # On the way back to the source (encoding) there is nothing to renew.
        omega = self.eta * then.c * torch.sqrt((1 - kept_at_most).clamp(min=0))
        eps = now.eps(x, x0, bridge.source)
        state = then.mean(x0, bridge.source) + (then.c**2 - omega**2).sqrt() * eps
        if self.eta == 0 or interval.last:
            return state
        return state + omega * bridge.noise(x)
