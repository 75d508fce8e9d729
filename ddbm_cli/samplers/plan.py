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
    budget: the number of network evaluations that was asked for, None where the steps were.
    """

    path: ProbabilityPath
    sampler: Sampler
    grid: TimeGrid
    start: Start
    steps: int
    budget: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampler", self.sampler.planned())
        object.__setattr__(self, "path", self.start.path(self.path))
        if not 1 <= self.steps <= MAX_STEPS:
            raise UsageError(f"the number of steps is {self.steps}", hint=f"pass --steps from 1 to {MAX_STEPS}")
        self.sampler.check(self.path)

    @cached_property
    def times(self) -> Tensor:
        """The falling times, float64 (steps + 1,): the grid's, or the start rule's and the last of a finer grid."""
        first = self.start.first(self.path)
        if first is None:
            return self.grid.times(self.path, self.steps)
        if first <= self.path.t_min:  # the guide has no noise to remove
            return first.reshape(1)
        whole = self.steps
        while (below := self._below(first, whole)).numel() < self.steps and whole < MAX_STEPS:
            whole += max(1, whole // 16)
        return torch.cat([first.reshape(1), below[-self.steps :]])

    def _below(self, first: Tensor, steps: int) -> Tensor:
        times = self.grid.times(self.path, steps)
        return times[times < first]

    @cached_property
    def nfe(self) -> int:
        """The number of network evaluations."""
        return count_evaluations(self.path, self.sampler, self.start, self.times)

    @property
    def draws(self) -> int:
        """How often noise is drawn; 0 where a source has one result only."""
        drawn = []

        def noise(like: Tensor) -> Tensor:
            drawn.append(like)
            return torch.zeros_like(like)

        bridge = Bridge(self.path, torch.zeros(1, 1, 1, 1, dtype=torch.float64), noise)
        finish(sample(lambda x, t, source: torch.zeros_like(x), bridge, self.sampler, self.start, self.times))
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
            better = auto.choose(self.path, self.nfe).sampler
            poor = (
                f"sampler '{self.sampler.name}' is poor at {self.nfe} network evaluations; use --sampler auto, which"
                f" is '{better}' here, or more evaluations"
            )
        return found if poor is None else [*found, poor]

    def within(self, nfe: int) -> "Plan":
        """Return this plan with the number of steps whose evaluations are closest to `nfe`; of two, the fewer.

        With one evaluation, which is too few for a drawn start, the result is the estimate at the source.

        Raises:
            UsageError: `nfe` is less than one step needs.
        """
        least = self._steps(1)
        if nfe < least.nfe and self.path.noise_free and self.start.evaluations:
            return replace(self, start=Pinned()).within(nfe)  # without noise a start needs no estimate
        if nfe == 1 < least.nfe and not self.path.source_free:
            return replace(self, sampler=Implicit(), grid=AT_THE_SOURCE, start=Pinned(), steps=1, budget=1)
        if nfe < least.nfe:
            raise UsageError(
                f"{nfe} network evaluations are too few for sampler '{self.sampler.name}'",
                hint=f"pass --nfe {least.nfe} or more",
            )
        below, above = least, self._steps(min(nfe + 1, MAX_STEPS))  # every step takes at least one evaluation
        while above.nfe > nfe and above.steps - below.steps > 1:
            share = (nfe - below.nfe) / (above.nfe - below.nfe)
            guess = below.steps + round(share * (above.steps - below.steps))
            middle = self._steps(min(max(guess, below.steps + 1), above.steps - 1))
            below, above = (middle, above) if middle.nfe <= nfe else (below, middle)
        return replace(below if nfe - below.nfe <= abs(above.nfe - nfe) else above, budget=nfe)

    def _steps(self, steps: int) -> "Plan":
        return replace(self, steps=steps)

    def describe(self) -> Mapping[str, Any]:
        """Return the JSON form, without the path, which belongs to the model."""
        return {
            "sampler": describe(self.sampler),
            "grid": describe(self.grid),
            "start": describe(self.start),
            "steps": self.steps,
        }
