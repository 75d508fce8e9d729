"""DBMSolver (arXiv:2605.05889): a step of order 2 with two evaluations, from estimates that are linear in lambda.

From t, an implicit step (DBIM, eta = 0) goes to a middle time m and a second estimate is taken there. With these,

    x_s = implicit step from t to s + b_s W (x0_m - x0_t) / (lambda_m - lambda_t)                        (1)
    W = (lambda_s - lambda_t) - 1 + m_t / m_s + (arctan m_s - arctan m_t) / m_s                          (2)

where lambda and m are those of `reference_snr`. Where there is no source, (2) is h - 1 + exp(-h), DPM-Solver-2. The
last step is of order 1: it is the longest in lambda. The paper starts by a draw at T - 1e-4 and ends with Euler's
method from t_min to 0; its grids are `karras` (with `middle=lambda`) and `uniform`-like (with `middle=time`).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import reference_snr
from ddbm_cli.samplers.base import Bridge, Estimate, Interval, Query, Sampler, Trajectory
from ddbm_cli.samplers.implicit import Implicit

IMPLICIT = Implicit()


@settings
class DBMSolver(Sampler):
    """Two evaluations per step and one in the last, order 2, deterministic after the start.

    middle: where the second estimate is taken: half way in "lambda" or in "time".
    end: a last step to time 0 ends at the "estimate", as in DBIM, or by "euler", as in the paper; the difference is
        half of the noise at the last time.
    """

    name: ClassVar[str] = "dbmsolver"
    needs_noise: ClassVar[bool] = True

    middle: Annotated[Literal["lambda", "time"], Field()] = "lambda"
    end: Annotated[Literal["estimate", "euler"], Field()] = "estimate"

    @property
    def convergence_order(self) -> float:
        return 2

    def check(self, path: ProbabilityPath) -> None:
        super().check(path)
        reference_snr.check_reference(path, self.name, "use --sampler dbim or dbim-2")

    def evaluations(self, path: ProbabilityPath, times: Tensor) -> int:
        steps = len(times) - 1
        drawn = steps > 1 and float(path.coefficients(times[0]).c) == 0  # the step that leaves the source
        return 2 * steps - 1 - drawn

    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        path, source, t, s = bridge.path, bridge.source, interval.t, interval.s
        if interval.last and s == 0 and self.end == "euler" and path.coefficients(t).c > 0:
            x0 = yield Query(x, t)
            return x + path.velocity(x, x0, source, t) * (s - t)
        if interval.last or path.coefficients(t).c == 0:
            return (yield from IMPLICIT.step(bridge, x, interval, history))
        x0 = yield Query(x, t)
        now = reference_snr.level(path, reference_snr.root(path, t))
        middle = (t + s) / 2
        if self.middle == "lambda":
            then = reference_snr.level(path, reference_snr.root(path, s))
            middle = reference_snr.time_of_level(path, (now + then) / 2, t)
        ahead = yield Query(_moved(bridge, x, x0, t, middle), middle)
        gained = reference_snr.level(path, reference_snr.root(path, middle)) - now
        result = _moved(bridge, x, x0, t, s)
        if gained <= 0:  # times of a table may share a row
            return result
        weight = path.coefficients(s).b * reference_snr.first_moment(path, t, s) / gained
        return result + weight * (ahead - x0)


def _moved(bridge: Bridge, x: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Return the state at s of the deterministic implicit step from x at t with the estimate x0."""
    path = bridge.path
    return path.mean(x0, bridge.source, s) + path.coefficients(s).c * path.eps(x, x0, bridge.source, t)
