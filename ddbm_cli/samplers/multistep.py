"""DBIM of order 2 and 3 (arXiv:2405.15885, App. on high order): a step uses earlier estimates.

In lambda = log(b / c) the deterministic bridge solves exactly to

    x_s = (c_s / c_t) x_t + (a_s - a_t c_s / c_t) x_T + c_s * integral of e^lambda x0(lambda) over the step      (1)

and x0 is expanded at the start of the step, with derivatives from the estimates of earlier steps. With h the length
of the step in lambda, the moments of e^(lambda - lambda_s) over it are

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
    """One evaluation per step. The first steps have a lower order, as they have fewer earlier estimates.

    The last step has order 1, as in the released code: it is the longest in lambda, too long to extrapolate.

    order: 2 or 3.
    """

    name: ClassVar[str] = "multistep"
    needs_noise: ClassVar[bool] = True

    order: Annotated[int, Field(ge=2, le=3)] = 2

    @property
    def convergence_order(self) -> float:
        return 2  # also of order 3, whose first steps have lower orders

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, t, s = bridge.path, interval.t, interval.s
        if path.noise_free:
            raise UsageError(
                f"sampler 'multistep' needs noise on the path, and '{path.name}' has none",
                hint="use --sampler implicit or --sampler heun:churn=0",
            )
        x0 = yield Query(x, t)
        if s == 0:  # the last step ends at the estimate, also on a table, which has noise left at time 0
            return x0
        level = path.log_snr(t) / 2
        if history and history[-1].t == level:  # a table's times may share a row: the newer estimate replaces the other
            history.pop()
        history.append(Estimate(level, x0))
        now, then = path.coefficients(t), path.coefficients(s)
        h = path.log_snr(s) / 2 - level
        integral = -torch.expm1(-h) * x0
        slopes = [] if interval.last else _slopes(history[-self.order :])
        if len(slopes) > 0:
            integral = integral + (h + torch.expm1(-h)) * slopes[0]
        if len(slopes) > 1:
            integral = integral + (h**2 / 2 - h - torch.expm1(-h)) * slopes[1]
        kept = then.c / now.c
        return kept * x + (then.a - kept * now.a) * bridge.source + then.b * integral


def _slopes(estimates: list[Estimate]) -> list[Tensor]:
    """Return the first and second derivative of x0 by lambda at the newest estimate, as many as there are data for."""
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
