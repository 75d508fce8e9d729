"""A plan: path, sampler, grid, start and number of steps; all that decides how an image is sampled except its seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import describe, spell
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import auto
from ddbm_cli.samplers.base import Bridge, Sampler, Start, count_evaluations, finish, sample
from ddbm_cli.samplers.implicit import Implicit
from ddbm_cli.samplers.starts import Pinned
from ddbm_cli.samplers.times import TimeGrid, Uniform

MAX_STEPS = 10_000

AT_THE_SOURCE = Uniform(gap=0.0, t_min=0.0)
"""The grid of one step from the source to the estimate there."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to sample on `path`, in `steps` steps of `grid`.

    path: given as the model's; from then on the one that is sampled, see `Start.path`.
    strength: where the trajectory of a bridge ends, as the weight b / (a + b) of the target in the state; 1 for the
        target itself, 0 for the source.
    budget: the number of network evaluations that was asked for, None where the steps were.
    estimates_source: the steps use an estimate of the source; see `Bridge.estimate_source`.
    """

    path: ProbabilityPath
    sampler: Sampler
    grid: TimeGrid
    start: Start
    steps: int
    strength: float = 1.0
    budget: int | None = None
    estimates_source: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampler", self.sampler.planned())
        object.__setattr__(self, "path", self.start.path(self.path))
        if not 1 <= self.steps <= MAX_STEPS:
            raise UsageError(f"the number of steps is {self.steps}", hint=f"pass --steps from 1 to {MAX_STEPS}")
        self.sampler.check(self.path)
        if self.is_partial and self.path.source_free:
            raise UsageError(
                f"path '{self.path.name}' has no source to stop at on the way", hint="leave out --strength"
            )

    @property
    def is_partial(self) -> bool:
        """Whether the trajectory ends before the target."""
        return self.strength < 1

    @cached_property
    def times(self) -> Tensor:
        """The falling times, float64 (steps + 1,): the grid's, or the start rule's and the last of a finer grid."""
        first = self.start.first(self.path)
        if first is None:
            return self._until_stop(self.grid.times(self.path, self.steps))
        if first <= self.path.t_min:  # the guide has no noise to remove
            return first.reshape(1)
        whole = self.steps
        while (below := self._below(first, whole)).numel() < self.steps and whole < MAX_STEPS:
            whole += max(1, whole // 16)
        return torch.cat([first.reshape(1), below[-self.steps :]])

    def _until_stop(self, times: Tensor) -> Tensor:
        """Return the times up to the end of a partial trajectory."""
        if not self.is_partial:
            return times
        stop = weight_time(self.path, self.strength)
        if not bool((times > stop).any()):
            return times.new_tensor([self.path.t_max])
        return torch.cat([times[times > stop], stop.reshape(1)])

    def _below(self, first: Tensor, steps: int) -> Tensor:
        times = self.grid.times(self.path, steps)
        return times[times < first]

    @cached_property
    def nfe(self) -> int:
        """The number of network evaluations."""
        how = {"partial": self.is_partial, "estimates_source": self.estimates_source}
        return count_evaluations(self.path, self.sampler, self.start, self.times, **how)

    @property
    def draws(self) -> int:
        """How often noise is drawn; 0 where a source has one result only."""
        drawn = []

        def noise(like: Tensor) -> Tensor:
            drawn.append(like)
            return torch.zeros_like(like)

        bridge = Bridge(self.path, torch.zeros(1, 1, 1, 1, dtype=torch.float64), noise)
        sampling = (bridge, self.sampler, self.start, self.times)
        finish(sample(lambda x, t, source: torch.zeros_like(x), *sampling, partial=self.is_partial))
        return len(drawn)

    def warnings(self) -> list[str]:
        """Return what a user should know before the work begins: a budget not met exactly, a poor result expected."""
        found = []
        if self.budget not in (None, self.nfe):
            found.append(
                f"sampler '{self.sampler.name}' cannot take exactly {self.budget} network evaluations; it takes"
                f" {self.nfe}, in {self.steps} step{'s' if self.steps > 1 else ''}"
            )
        if self.budget == 1 and self.grid == AT_THE_SOURCE:
            found.append("with 1 network evaluation, the result is the estimate at the source: a mean of images")
        poor = self.sampler.warning(self.path, self.times)
        if poor is None and auto.is_poor(self.path, self.nfe, spell(self.sampler), spell(self.grid)):
            poor = f"sampler '{self.sampler.name}' is poor at {self.nfe} network evaluations"
        if poor is not None:
            better, grid = auto.choose(self.path, self.nfe)
            which = f"'{better}' on grid '{grid}'" if grid else f"'{better}'"
            found.append(f"{poor}; use --sampler auto, which is {which} here, or more evaluations")
        return found

    def within(self, nfe: int) -> "Plan":
        """Return this plan with the number of steps whose evaluations are closest to `nfe`; of two, the fewer.

        With one evaluation, which is too few for a drawn start, the result is the estimate at the source.

        Raises:
            UsageError: `nfe` is less than one step needs.
        """
        least = self._steps(1)
        if self.is_partial and least.nfe == 0:
            return replace(least, budget=None)
        if nfe < least.nfe and self.path.noise_free and self.start.evaluations:
            return replace(self, start=Pinned()).within(nfe)  # without noise a start needs no estimate
        if nfe == 1 < least.nfe and not self.path.source_free and not self.is_partial:
            return replace(self, sampler=Implicit(), grid=AT_THE_SOURCE, start=Pinned(), steps=1, budget=1)
        if nfe < least.nfe:
            raise UsageError(
                f"{nfe} network evaluations are too few for sampler '{self.sampler.name}'",
                hint=f"pass --nfe {least.nfe} or more",
            )
        below, above = least, self._steps(min(nfe + 1, MAX_STEPS))  # every step takes at least one evaluation
        while self.is_partial and above.nfe < nfe and above.steps < MAX_STEPS:  # some of the steps are not taken
            above = self._steps(min(2 * above.steps, MAX_STEPS))
        while above.nfe > nfe and above.steps - below.steps > 1:
            share = (nfe - below.nfe) / (above.nfe - below.nfe)
            guess = below.steps + round(share * (above.steps - below.steps))
            middle = self._steps(min(max(guess, below.steps + 1), above.steps - 1))
            below, above = (middle, above) if middle.nfe <= nfe else (below, middle)
        return replace(below if nfe - below.nfe <= abs(above.nfe - nfe) else above, budget=nfe)

    def stopped_at(self, strength: float | None) -> "Plan":
        """Return this plan with a trajectory that ends at `strength`, None for all of it, within the same budget."""
        if strength is None:
            return self
        partial = replace(self, strength=strength)
        return partial if self.budget is None else partial.within(self.budget)

    def _steps(self, steps: int) -> "Plan":
        return replace(self, steps=steps)

    def describe(self) -> Mapping[str, Any]:
        """Return the JSON form, without the path, which belongs to the model."""
        return {
            "sampler": describe(self.sampler),
            "grid": describe(self.grid),
            "start": describe(self.start),
            "steps": self.steps,
            **({"strength": self.strength} if self.is_partial else {}),
        }


def weight_time(path: ProbabilityPath, weight: float) -> Tensor:
    """Return the time (0-d float64) at which the weight b / (a + b) of the target is `weight`, by bisection."""
    low, high = torch.zeros((), dtype=torch.float64), torch.tensor(path.t_max, dtype=torch.float64)
    for _ in range(80):  # the weight falls with t
        middle = (low + high) / 2
        a, b, _ = path.coefficients(middle)
        low, high = (middle, high) if b / (a + b) > weight else (low, middle)
    return high
