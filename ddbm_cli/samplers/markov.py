"""Whether the steps of a plan use the source, which the steps of a Markov process do not."""

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.samplers.base import Bridge, Interval, Trajectory
from ddbm_cli.samplers.plan import Plan

SHARE = 0.01
"""Weight of the source in a step from t_max / 2 to t_max / 4 below which the step does not depend on it; I2SB's table,
which counts the variance of a row twice, has 0.0002, and a step that redraws no noise 0.03 or more."""


def without_source(plan: Plan, model: str) -> Plan:
    """Return a plan for a model that is a Markov process.

    Args:
        model: its name, for the error.

    Raises:
        UsageError: the plan uses the source.
    """
    if not is_markov(plan):
        raise UsageError(
            f"sampler '{plan.sampler.name}' as it is set uses the source; model '{model}' is a Markov process",
            hint="use --sampler implicit:eta=1 or euler-maruyama",
        )
    return plan


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
