"""DBIM of order 2 and 3 (arXiv:2405.15885, App. on high order): earlier estimates bend the step.

In lambda = log(b / c) the deterministic bridge solves exactly to

    x_s = (c_s / c_t) x_t + (a_s - a_t c_s / c_t) x_T + c_s * integral of e^lambda x0(lambda) over the step      (1)

and x0 is expanded about the step's beginning, its slopes taken from the estimates of earlier steps. With h the
length of the step in lambda, the moments of e^(lambda - lambda_s) over it are

    1 - e^-h,   h - 1 + e^-h,   h^2 / 2 - h + 1 - e^-h                                                           (2)
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory


@settings
class Multistep(Sampler):
    """One evaluation a step; the first steps are of lower order, until there are estimates enough.

    The last step is of order 1, as in the released code: it is the longest in lambda, where slopes mislead.

    order: 2 or 3.
    """

    name: ClassVar[str] = "multistep"

    order: Annotated[int, Field(ge=2, le=3)] = 2

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, t, s = bridge.path, interval.t, interval.s
        if path.noise_free:
            raise UsageError(
                f"sampler 'multistep' needs noise on the path, and '{path.name}' has none",
                hint="use --sampler implicit or --sampler heun:churn=0",
            )
        x0 = yield Query(x, t)
        history.append(Estimate(path.log_snr(t) / 2, x0))
        now, then = path.coefficients(t), path.coefficients(s)
        h = path.log_snr(s) / 2 - path.log_snr(t) / 2
        integral = -torch.expm1(-h) * x0
        slopes = [] if interval.last else _slopes(history[-self.order :])
        if len(slopes) > 0:
            integral = integral + (h + torch.expm1(-h)) * slopes[0]
        if len(slopes) > 1:
            integral = integral + (h**2 / 2 - h - torch.expm1(-h)) * slopes[1]
        kept = then.c / now.c
        return kept * x + (then.a - kept * now.a) * bridge.source + then.b * integral


def _slopes(estimates: list[Estimate]) -> list[Tensor]:
    """Return the first and second derivative of x0 by lambda at the newest estimate, as far as they are known."""
    if len(estimates) < 2:
        return []
    newest, before = estimates[-1], estimates[-2]
    h1 = newest.t - before.t
    first = (newest.x0 - before.x0) / h1
    if len(estimates) < 3:
        return [first]
    oldest = estimates[-3]
    h2 = before.t - oldest.t
    earlier = (before.x0 - oldest.x0) / h2
    bend = (first - earlier) / (h1 + h2)
    return [first + h1 * bend, 2 * bend]
