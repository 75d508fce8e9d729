"""The one sampling loop, and what a sampler is.

A sampler is a coroutine. Where it needs the network it says `x0 = yield Query(x, t)`; the loop makes the call, counts
it, tells the world, and sends the estimate back. So a sampler holds nothing but its own mathematics, every call is
counted because every call goes through here, and progress bars, previews and cancelling need no argument anywhere.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ddbm_cli.denoisers import Denoise
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath

Noise = Callable[[Tensor], Tensor]
"""Given a state (B, C, H, W), returns fresh standard noise of its shape, dtype and device."""


class Query(NamedTuple):
    """A sampler asks for the estimate of the target at state x (B, C, H, W) and time t (0-d float64)."""

    x: Tensor
    t: Tensor


Trajectory = Generator[Query, Tensor, Tensor]
"""A trajectory of sampling: yields queries, is sent estimates, returns the state that it ends in."""


@dataclass(frozen=True)
class Bridge:
    """One batch on its way: the path, the source pictures x_T (B, C, H, W), and where noise comes from.

    mask: (B, 1, H, W), 1 where the source may change and 0 where it stays; on source-free paths only, None for 1.
    """

    path: ProbabilityPath
    source: Tensor
    noise: Noise
    mask: Tensor | None = None


@dataclass(frozen=True)
class Interval:
    """One step of the grid, from time t to time s < t (0-d float64); `last` if no step follows."""

    t: Tensor
    s: Tensor
    last: bool


class Estimate(NamedTuple):
    """An estimate of the target that an earlier step got, for multistep samplers."""

    t: Tensor
    x0: Tensor


@dataclass(frozen=True)
class Evaluation:
    """One network call is done: its number (from 1), its time, the state it saw and the target it estimated."""

    nfe: int
    t: float
    x: Tensor
    x0: Tensor


@settings
class Sampler(ABC):
    """Base of all samplers: a subclass gives `step`, and names the grid and start that it is at home with."""

    name: ClassVar[str]
    home_grid: ClassVar[str] = "uniform"
    home_start: ClassVar[str] = "booted"

    @abstractmethod
    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        """Go from x at interval.t to interval.s. `history` belongs to the sampler, and is empty at the first step."""


@settings
class Start(ABC):
    """How a state at the grid's first time comes from the source."""

    name: ClassVar[str]

    def first(self, path: ProbabilityPath) -> Tensor | None:
        """Return the time of the first state (0-d float64), None for the grid's own."""
        return None

    @property
    def rounds(self) -> int:
        """How often the whole way is gone, each time from the last result."""
        return 1

    def source(self, bridge: Bridge) -> Tensor:
        """Return x_T: the given source, unless the rule makes one of its own."""
        return bridge.source

    @abstractmethod
    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        """Return the state at t."""


def trajectory(bridge: Bridge, sampler: Sampler, start: Start, times: Tensor) -> Trajectory:
    """The whole way from source to target along `times` (falling, float64)."""
    guide = bridge.source
    for _ in range(start.rounds):
        x = first = yield from start.begin(bridge, times[0])
        history: list[Estimate] = []
        for index, (t, s) in enumerate(pairwise(times), start=2):
            interval = Interval(t, s, last=index == len(times))
            x = yield from sampler.step(bridge, x, interval, history)
            if bridge.mask is not None:
                x = torch.where(bridge.mask > 0, x, _known(bridge.path, guide, first, times[0], interval))
        bridge = replace(bridge, source=x)
    return x


def _known(path: ProbabilityPath, guide: Tensor, first: Tensor, start: Tensor, interval: Interval) -> Tensor:
    """Return the state after a step where it is known to end at the guide: the guide, and the noise it began with."""
    if interval.last:
        return guide
    _, b, c = path.coefficients(interval.s)
    return b * guide + c * path.eps(first, guide, guide, start)


def sample(
    denoise: Denoise, bridge: Bridge, sampler: Sampler, start: Start, times: Tensor
) -> Generator[Evaluation, None, Tensor]:
    """Run a sampler; yield every network evaluation as it is done, and return the final state (B, C, H, W).

    Inside another generator: `result = yield from sample(...)`; elsewhere: `result = finish(sample(...))`.
    """
    bridge = replace(bridge, source=start.source(bridge))
    return (yield from drive(trajectory(bridge, sampler, start, times), denoise, bridge.source))


def drive(trajectory: Trajectory, denoise: Denoise, source: Tensor) -> Generator[Evaluation, None, Tensor]:
    """Answer the queries of a trajectory of sampling; yield every network evaluation as it is done."""
    nfe = 0
    try:
        query = next(trajectory)
        while True:
            with torch.no_grad():
                x0 = denoise(query.x, query.t, source)
            nfe += 1
            yield Evaluation(nfe, float(query.t), query.x, x0)
            query = trajectory.send(x0)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def finish(events: Generator[Evaluation, None, Tensor]) -> Tensor:
    """Run `sample` to its end and return its result."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def count_evaluations(path: ProbabilityPath, sampler: Sampler, start: Start, times: Tensor) -> int:
    """Return the number of network calls that `sample` will make: by making them, on one pixel, with no network."""
    pixel = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    bridge = Bridge(path, pixel, torch.zeros_like)
    return sum(1 for _ in sample(lambda x, t, source: torch.zeros_like(x), bridge, sampler, start, times))
