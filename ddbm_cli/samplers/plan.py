"""A plan: sampler, grid, start and number of steps, resolved; all that decides how an image is sampled but its seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import describe
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Bridge, Sampler, Start, count_evaluations, finish, sample
from ddbm_cli.samplers.times import TimeGrid

MAX_STEPS = 10_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to sample on `path`, in `steps` steps of `grid`."""

    path: ProbabilityPath
    sampler: Sampler
    grid: TimeGrid
    start: Start
    steps: int

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MAX_STEPS:
            raise UsageError(f"{self.steps} steps cannot be sampled", hint=f"give --steps from 1 to {MAX_STEPS}")

    @property
    def times(self) -> Tensor:
        """The falling times, float64 (steps + 1,): the grid's, or the start rule's and the last of a finer grid."""
        first = self.start.first(self.path)
        if first is None:
            return self.grid.times(self.path, self.steps)
        if first <= self.path.t_min:  # there is no noise to be removed
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
        """The number of network evaluations, counted."""
        return count_evaluations(self.path, self.sampler, self.start, self.times)

    @property
    def draws(self) -> int:
        """How often noise is drawn on the way; 0 where a source has one picture only."""
        drawn = []

        def noise(like: Tensor) -> Tensor:
            drawn.append(like)
            return torch.zeros_like(like)

        bridge = Bridge(self.path, torch.zeros(1, 1, 1, 1, dtype=torch.float64), noise)
        finish(sample(lambda x, t, source: torch.zeros_like(x), bridge, self.sampler, self.start, self.times))
        return len(drawn)

    def within(self, nfe: int) -> "Plan":
        """Return this plan with as many steps as `nfe` evaluations allow.

        Raises:
            UsageError: not even one step is possible.
        """
        least = replace(self, steps=1).nfe
        if nfe < least:
            raise UsageError(
                f"{nfe} evaluations are too few for sampler '{self.sampler.name}'", hint=f"give --nfe {least} or more"
            )
        low, high = 1, min(nfe + 1, MAX_STEPS)  # every step costs at least one evaluation
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if replace(self, steps=middle).nfe <= nfe else (low, middle - 1)
        return replace(self, steps=low)

    def describe(self) -> Mapping[str, Any]:
        """Return the JSON form, without the path, which belongs to the model."""
        return {
            "sampler": describe(self.sampler),
            "grid": describe(self.grid),
            "start": describe(self.start),
            "steps": self.steps,
        }
