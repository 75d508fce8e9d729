"""DBIM of order 2 and 3 (arXiv:2405.15885, App. on high order): a step uses earlier estimates.

In lambda = log(b / c) the deterministic bridge solves exactly to

    x_s = (c_s / c_t) x_t + (a_s - a_t c_s / c_t) x_T + c_s * integral of e^lambda x0(lambda) over the step      (1)

and x0 is expanded at the start of the step, with derivatives from the estimates of earlier steps. With h the length
of the step in lambda, the moments of e^(lambda - lambda_s) over it are

    1 - e^-h,   h - 1 + e^-h,   h^2 / 2 - h + 1 - e^-h                                                           (2)

With `variable=lambda`, x0 is expanded in the lambda of the reference process instead, as DBMSolver does; the moments
are those of `reference_snr`. On one-dimensional pairs with exact estimates this has the smaller error at 6 to 10
evaluations. Without a source the two variables are the same.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import reference_snr
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory


@settings
class Multistep(Sampler):
    """One evaluation per step. The first steps have a lower order, as they have fewer earlier estimates.

    The last step has order 1, as in the released code: it is the longest in lambda, too long to extrapolate.

    order: 2 or 3.
    variable: what estimates are extrapolated in: "log-snr", log(b / c), or "lambda" of the reference process.
    """

    name: ClassVar[str] = "multistep"
    needs_noise: ClassVar[bool] = True

    order: Annotated[int, Field(ge=2, le=3)] = 2
    variable: Annotated[Literal["log-snr", "lambda"], Field()] = "log-snr"

    @property
    def convergence_order(self) -> float:
        return 2  # also of order 3, whose first steps have lower orders

    def check(self, path: ProbabilityPath) -> None:
        super().check(path)
        if self.variable == "lambda":
            reference_snr.check_reference(path, "multistep:variable=lambda", "leave out variable=lambda")

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, t, s = bridge.path, interval.t, interval.s
        if path.noise_free:
            self.check(path)
        x0 = yield Query(x, t)
        if s == 0:  # the last step ends at the estimate, also on a table, which has noise left at time 0
            return x0
        level = self._level(path, t)
        if history and history[-1].t == level:  # a table's times may share a row: the newer estimate replaces the other
            history.pop()
        history.append(Estimate(level, x0))
        now, then = path.coefficients(t), path.coefficients(s)
        moments = self._moments(path, t, s)
        integral = moments[0] * x0
        slopes = [] if interval.last else _slopes(history[-self.order :])
        for moment, slope in zip(moments[1:], slopes, strict=False):
            integral = integral + moment * slope
        kept = then.c / now.c
        return kept * x + (then.a - kept * now.a) * bridge.source + then.b * integral

    def _level(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        """Return the variable at t."""
        if self.variable == "lambda":
            return reference_snr.level(path, reference_snr.root(path, t))
        return path.log_snr(t) / 2

    def _moments(self, path: ProbabilityPath, t: Tensor, s: Tensor) -> list[Tensor]:
        """Return the weights of the estimate and of its derivatives, `order` numbers."""
        h = path.log_snr(s) / 2 - path.log_snr(t) / 2
        whole = -torch.expm1(-h)
        if self.variable == "lambda":
            more = [reference_snr.first_moment, reference_snr.second_moment][: self.order - 1]
            return [whole, *(moment(path, t, s) for moment in more)]
        return [whole, h + torch.expm1(-h), h**2 / 2 - h - torch.expm1(-h)][: self.order]


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
