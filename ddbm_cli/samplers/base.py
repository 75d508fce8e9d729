"""The one sampling loop, and what a sampler is.

A sampler is a coroutine. Where it needs the network it yields a query, `x0 = yield Query(x, t)`; the loop calls the
network, counts the call, yields it as an event, and sends the estimate back. A sampler contains only its mathematics,
every call is counted, and progress bars, previews and cancellation need no extra arguments.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from ddbm_cli.denoisers import Denoise
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.remembered import remembered

Noise = Callable[[Tensor], Tensor]
"""Given a state (B, C, H, W), returns fresh standard noise of its shape, dtype and device."""


class Query(NamedTuple):
    """A request for the estimate of the target at state x (B, C, H, W) and time t (0-d float64).

    of_source: it is for the estimate of the source instead; see `Bridge.estimate_source`.
    """

    x: Tensor
    t: Tensor
    of_source: bool = False


Trajectory = Generator[Query, Tensor, Tensor]
"""A part of sampling: yields queries, is sent estimates, returns its last state."""


@dataclass(frozen=True)
class Bridge:
    """One batch that is sampled: the path, the source images x_T (B, C, H, W), and the source of noise.

    mask: (B, 1, H, W), 1 where the source may change and 0 where it is kept; for source-free paths only, None for 1.
    estimate_source: of a Markov process, whose state does not determine where it came from. Every step but the first
        then uses E[x_T | x_t] as the source, as equation (4) of paths does with its own expectations.
    """

    path: ProbabilityPath
    source: Tensor
    noise: Noise
    mask: Tensor | None = None
    estimate_source: Denoise | None = None


@dataclass(frozen=True)
class Interval:
    """One step of the grid, from time t to time s < t (0-d float64).

    last: no step follows. second_last: the next step is the last.
    """

    t: Tensor
    s: Tensor
    last: bool
    second_last: bool = False


class Estimate(NamedTuple):
    """An estimate of the target from an earlier step, for multistep samplers."""

    t: Tensor
    x0: Tensor


@dataclass(frozen=True)
class Evaluation:
    """One network call that is done: its number (from 1), its time, its state and the latest estimate of the target."""

    nfe: int
    t: float
    x: Tensor
    x0: Tensor


@settings
class Sampler(ABC):
    """Base of all samplers. A subclass defines `step`, and the members below where they differ."""

    name: ClassVar[str]
    default_start: ClassVar[str] = "booted"
    """Registry name of the start rule on bridges with noise."""

    needs_noise: ClassVar[bool] = False
    """Whether the sampler does not work on a noise-free path."""

    @property
    def convergence_order(self) -> float:
        """Order p: the error falls with steps^-p; the error of the distribution where noise is drawn."""
        return 1

    @property
    def stochastic(self) -> bool:
        """Whether the steps draw noise; without it the result depends on the start alone."""
        return False

    def check(self, path: ProbabilityPath) -> None:
        """Check that the sampler works on a path.

        Raises:
            UsageError: it does not.
        """
        if path.noise_free and self.needs_noise:
            raise UsageError(
                f"sampler '{self.name}' needs noise, and path '{path.name}' has none",
                hint="use --sampler implicit, euler or heun:churn=0",
            )

    def planned(self) -> "Sampler":
        """Return the sampler with the values that a plan sets where the user gives none."""
        return self

    def evaluations(self, path: ProbabilityPath, times: Tensor) -> int:
        """Return the number of network calls for all steps of `times`, without the start's."""
        return len(times) - 1

    def warning(self, path: ProbabilityPath, times: Tensor) -> str | None:
        """Return why the result on these times will be poor; None if nothing is known."""
        return None

    @abstractmethod
    def step(self, bridge: Bridge, x: Tensor, interval: Interval, history: list[Estimate]) -> Trajectory:
        """Go from x at interval.t to interval.s. `history` is the sampler's own list, empty at the first step."""


@settings
class Start(ABC):
    """How the state at the grid's first time is made from the source."""

    name: ClassVar[str]
    evaluations: ClassVar[int] = 0
    """Network calls of `begin`."""

    def first(self, path: ProbabilityPath) -> Tensor | None:
        """Return the time of the first state (0-d float64), None for the grid's own."""
        return None

    @property
    def rounds(self) -> int:
        """How often the whole trajectory is sampled, each time from the last result."""
        return 1

    def path(self, path: ProbabilityPath) -> ProbabilityPath:
        """Return the path that is sampled for a model of `path`."""
        return path

    @abstractmethod
    def begin(self, bridge: Bridge, t: Tensor) -> Trajectory:
        """Return the state at t."""


def both_ends(bridge: Bridge, x: Tensor, t: Tensor) -> Generator[Query, Tensor, tuple[Tensor, Tensor]]:
    """Return the estimate of the target at a state inside a step, and the source or its estimate."""
    x0 = yield Query(x, t)
    source = bridge.source
    if bridge.estimate_source is not None:
        source = yield Query(x, t, of_source=True)
    return x0, source


def trajectory(bridge: Bridge, sampler: Sampler, start: Start, times: Tensor, *, finishes: bool = True) -> Trajectory:
    """The trajectory from source to target along `times` (falling, float64).

    finishes: the last step is treated as such; False for times that end on the way.
    """
    guide, end = bridge.source, len(times) if finishes else len(times) + 2
    for _ in range(start.rounds):
        x = first = yield from start.begin(bridge, times[0])
        history: list[Estimate] = []
        for index, (t, s) in enumerate(pairwise(times), start=2):
            interval = Interval(t, s, last=index == end, second_last=index == end - 1)
            if bridge.estimate_source is not None and index > 2:  # at first the state is the source
                bridge = replace(bridge, source=(yield Query(x, t, of_source=True)))
            x = yield from sampler.step(bridge, x, interval, history)
            if bridge.mask is not None:
                x = torch.where(bridge.mask > 0, x, _known(bridge.path, guide, first, times[0], interval))
        bridge = replace(bridge, source=x)
    return x


def partial_trajectory(bridge: Bridge, sampler: Sampler, start: Start, times: Tensor) -> Trajectory:
    """The trajectory of a bridge along `times`, which end on the way; return the state there without its noise.

    On a path with noise this takes one more estimate of the target. One time is that of the source.
    """
    if len(times) == 1:
        return bridge.source
    x = yield from trajectory(bridge, sampler, start, times, finishes=False)
    if bridge.path.noise_free:
        return x
    x0, source = yield from both_ends(bridge, x, times[-1])
    return bridge.path.mean(x0, source, times[-1])


def _known(path: ProbabilityPath, guide: Tensor, first: Tensor, start: Tensor, interval: Interval) -> Tensor:
    """Return the state after a step where the mask is 0: the guide with the noise of the first state."""
    if interval.last:
        return guide
    _, b, c = path.coefficients(interval.s)
    return b * guide + c * path.eps(first, guide, guide, start)


def sample(
    denoise: Denoise, bridge: Bridge, sampler: Sampler, start: Start, times: Tensor, *, partial: bool = False
) -> Generator[Evaluation, None, Tensor]:
    """Run a sampler; yield every network evaluation when it is done, and return the final state (B, C, H, W).

    partial: the times end on the way, see `partial_trajectory`.

    Inside another generator: `result = yield from sample(...)`; elsewhere: `result = finish(sample(...))`.
    """
    bridge = replace(bridge, path=remembered(start.path(bridge.path)))
    steps = (partial_trajectory if partial else trajectory)(bridge, sampler, start, times)
    return (yield from drive(steps, denoise, bridge))


def network_time(path: ProbabilityPath, t: Tensor) -> Tensor:
    """Return the time that the network gets for a query at t (0-d float64)."""
    return t if t < path.t_max else t.new_tensor(path.t_last)


def drive(trajectory: Trajectory, denoise: Denoise, bridge: Bridge) -> Generator[Evaluation, None, Tensor]:
    """Answer the queries of a trajectory; yield every network evaluation when it is done.

    At t_max itself a bridge has no noise and no network was trained: the query is made at the last time of training.
    """
    path, nfe, x0 = bridge.path, 0, bridge.source
    try:
        query = next(trajectory)
        while True:
            t = network_time(path, query.t)
            asked = bridge.estimate_source if query.of_source else denoise
            assert asked is not None
            with torch.no_grad():
                found = asked(query.x, t, bridge.source)
            nfe += 1
            x0 = x0 if query.of_source else found
            yield Evaluation(nfe, float(t), query.x, x0)
            query = trajectory.send(found)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


T = TypeVar("T")


def finish(events: Generator[Evaluation, None, T]) -> T:
    """Run `sample`, or what passes on its evaluations, to its end and return the result."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return cast(T, stop.value)


def count_evaluations(
    path: ProbabilityPath,
    sampler: Sampler,
    start: Start,
    times: Tensor,
    *,
    partial: bool = False,
    estimates_source: bool = False,
) -> int:
    """Return the number of network calls that `sample` will make."""
    if partial or estimates_source:  # samplers count their last step as one that ends at the target, and no sources

        def blank(x: Tensor, t: Tensor, source: Tensor) -> Tensor:
            return x

        zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        bridge = Bridge(path, zero, torch.zeros_like, estimate_source=blank if estimates_source else None)
        return sum(1 for _ in sample(blank, bridge, sampler, start, times, partial=partial))
    return start.rounds * (start.evaluations + sampler.evaluations(path, times))
