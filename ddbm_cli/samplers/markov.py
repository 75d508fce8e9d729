"""Samplers of a Markov process between two sets of images, whose state does not determine its source.

Steps that use the source are for the bridge from one source. Those of the process use E[x_T | x_t] in its place, which
is what the process in the other direction estimates at the mirrored time. So they keep the distribution at each time,
but not the joint one of source and result. Without noise this is the probability flow.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.samplers.base import Bridge, Interval, Trajectory
from ddbm_cli.samplers.defaults import START_GAP
from ddbm_cli.samplers.plan import Plan
from ddbm_cli.samplers.times import LogSNR

SHARE = 0.01
"""Weight of the source in a step from t_max / 2 to t_max / 4 below which the step does not depend on it; I2SB's table,
which counts the variance of a row twice, has 0.0002, and a step that redraws no noise 0.03 or more."""


def of_process(plan: Plan, model: str, *, both: bool, usual_grid: bool = True) -> Plan:
    """Return a plan for a model that is a Markov process, within the same budget.

    Args:
        model: its name, for the error.
        both: whether the process in the other direction is there, too.
        usual_grid: whether the grid is a default. Estimates of both ends need one that is fine at both: with equal
            steps in log-SNR, Heun's method is of order 2; see tests.samplers.test_markov.

    Raises:
        UsageError: the plan uses the source, and nothing estimates it.
    """
    if is_markov(plan):
        return plan
    if not both:
        raise UsageError(
            f"sampler '{plan.sampler.name}' as it is set uses the source; model '{model}' is a Markov process",
            hint="use --sampler implicit:eta=1 or euler-maruyama, or the file with both directions",
        )
    grid = LogSNR(gap=START_GAP * plan.path.t_max, t_min=0.0) if usual_grid else plan.grid
    estimating = replace(plan, grid=grid, estimates_source=True)
    return estimating if plan.budget is None else estimating.within(plan.budget)


def is_markov(plan: Plan) -> bool:
    """Return whether the steps of a plan depend on the state alone, and not on the source, up to a table's rounding."""
    middle = torch.tensor(plan.path.t_max / 2, dtype=torch.float64)
    interval = Interval(middle, middle / 2, last=False)
    ends = []
    for value in (0.0, 1.0):
        bridge = Bridge(plan.path, torch.full((1, 1, 1, 1), value, dtype=torch.float64), torch.zeros_like)
        state = torch.full_like(bridge.source, 0.3)
        ends.append(_end(plan.sampler.step(bridge, state, interval, [])))
    first, second = ends
    return bool((first - second).abs() < SHARE)


def _end(steps: Trajectory) -> Tensor:
    """Return the end of a step whose every estimate is the same."""
    try:
        query = next(steps)
        while True:
            query = steps.send(torch.full_like(query.x, 0.1))
    except StopIteration as stop:
        end: Tensor = stop.value
        return end
