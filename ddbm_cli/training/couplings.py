"""Schrödinger bridges by rounds: couplings of two sets of images, simulated by the model itself (DSBM).

Between A and B the Schrödinger bridge is the Markov process closest to a reference process that has both sets as its
ends (DSBM, arXiv:2303.16852). Iterative Markovian fitting alternates two projections:

    Markovian     train both directions on pairs of ends, with the bridge of the reference between them     (1)
    reciprocal    keep the ends of the trained process: begin at an image, simulate the other end           (2)

A round is (1) on the pairs of (2), which the weights at its beginning simulate. A row that is trained from A to B has
its target, an image of B, from the data, and its source from a simulation of the other direction, and the reverse; so
all targets are true images. In the first round pairs come from a coupling that needs no weights: independent images
(iterative Markovian fitting, IMF), or the reference process from each target (IPF). On a path without noise the rounds
are those of rectified flow (reflow, arXiv:2209.03003).

The pairs of a round are a function of the weights that it begins with, which are part of a state, and of the seed. So a
run can be resumed in the middle of a round: pairs that are not kept are simulated again, to the same numbers.
"""

import copy
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers import Conditions, Denoise, Denoiser, clipped
from ddbm_cli.samplers import Bridge, Plan, finish, sample
from ddbm_cli.training.averages import Averages
from ddbm_cli.training.batches import Batch, generator
from ddbm_cli.training.first_couplings import Coupling, Draws, Simulates
from ddbm_cli.training.pair_files import PairFiles, digest_of
from ddbm_cli.training.sides import A_TO_B, B_TO_A, TwoSides, directions

SIMULATOR = "simulator"


@dataclass(frozen=True)
class Rounds:
    """Which round a step belongs to.

    first: steps of the first round. each: steps of each other round. batches: number of batches of pairs of a round.
    """

    first: int
    each: int
    batches: int

    def begin(self, step: int) -> int:
        """Return the first step of the round of a step."""
        return 0 if step < self.first else step - (step - self.first) % self.each

    def number(self, step: int) -> int:
        """Return the number of the round of a step, from 0."""
        return 0 if step < self.first else 1 + (step - self.first) // self.each

    def place(self, step: int) -> int:
        """Return which batch of pairs of its round a step uses."""
        return (step - self.begin(step)) % self.batches

    def new_batches(self, step: int, end: int) -> tuple[int, int]:
        """Return how many batches of pairs are used first by the steps from `step` to before `end`.

        Returns:
            Those of the first round, and those of all others.
        """
        first = others = 0
        while step < end:
            begin = self.begin(step)
            following = self.first if step < self.first else begin + self.each
            stop = min(following, end)
            new = min(self.batches, stop - begin) - min(self.batches, step - begin)
            first, others = (first + new, others) if step < self.first else (first, others + new)
            step = stop
        return first, others


class Simulation:
    """Simulates the other end of trajectories.

    Args:
        denoiser: copied; the weights of the copy are those that simulate.
        plan: how. clip: whether estimates are limited to -1..1.
    """

    def __init__(self, denoiser: Denoiser, plan: Plan, *, clip: bool) -> None:
        self.denoiser = copy.deepcopy(denoiser).requires_grad_(False).eval()
        self._plan, self._clip = plan, clip

    def use(self, denoiser: Denoiser) -> None:
        """Take the weights of another denoiser."""
        self.denoiser.load_state_dict(denoiser.state_dict())

    def digest(self, *more: object) -> str:
        """Return the digest of what the simulation depends on, and of more values."""
        return digest_of(self.denoiser, self._plan.describe(), *more)

    def __call__(self, begin: Tensor, direction: int, draws: Draws) -> Tensor:
        """Return where trajectories end that begin at images (B, C, H, W), on the CPU."""
        bridge = Bridge(self._plan.path, begin.to(self._device), draws.normal)
        steps = sample(self.estimate(direction), bridge, self._plan.sampler, self._plan.start, self._plan.times)
        return finish(steps).float().cpu()

    def estimate(self, direction: int) -> Denoise:
        """Return the estimate of a direction."""
        conditions = Conditions(torch.full((1,), direction, device=self._device))

        def denoise(x: Tensor, t: Tensor, source: Tensor) -> Tensor:
            estimate: Tensor = self.denoiser(x, t, source, conditions)
            return estimate

        return clipped(denoise) if self._clip else denoise

    @property
    def _device(self) -> torch.device:
        return next(self.denoiser.parameters()).device


class Couplings:
    """Batches of pairs, from a first coupling and then from simulations.

    Args:
        sides: the images.
        simulation: what simulates.
        first: pairs of the first round. rounds: when the others begin.
        files: keeps simulated pairs; None for none.
        size: of a batch, even. seed: of the run.
    """

    def __init__(
        self,
        sides: TwoSides,
        simulation: Simulation,
        first: Coupling,
        rounds: Rounds,
        *,
        files: PairFiles | None,
        size: int,
        seed: int,
    ) -> None:
        self.sides, self._simulation, self._first, self.rounds = sides, simulation, first, rounds
        self._files, self._size, self._seed = files, size, seed
        self._first_simulation = first.simulation(next(simulation.denoiser.parameters()).device)
        self.modules: dict[str, nn.Module] = {SIMULATOR: simulation.denoiser}
        self.averages: Averages | None = None
        """The averages of the run, whose weights simulate the next round."""
        self._digest = ""
        self.seconds = 0.0
        """How long simulations have taken."""
        self.new_failures = sides.new_failures

    @property
    def rows(self) -> slice:
        """The part of each batch that is returned, for one of several processes."""
        return self.sides.rows

    @rows.setter
    def rows(self, rows: slice) -> None:
        self.sides.rows = rows

    def __len__(self) -> int:
        return len(self.sides)

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Yield the batches from `step` on, in order. Each must be trained on before the next is asked for."""
        if self._is_coupled(step):
            for number, batch in zip(range(step, self.rounds.first), self._independent_from(step), strict=False):
                yield self._coupled(batch, number)
            step = self.rounds.first
        for number in count(step):
            if number == self.rounds.begin(number) > 0:
                self._begin_round()
            yield self[number]

    def expected(self, step: int, end: int) -> float:
        """Return the seconds that simulations for the steps to before `end` are expected to take; one is done."""
        first, others = self.rounds.new_batches(step, end)
        counts = {0: 0 if self._is_coupled(0) else first, self.rounds.first: others}
        seconds = 0.0
        for begin, number in counts.items():
            if number:
                before = self.seconds
                self._timed(begin, 0)
                seconds += number * (self.seconds - before)
        return seconds

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, with the pairs of the current weights of the simulation."""
        if self._is_coupled(step):
            return self._coupled(self._independent(step), step)
        begin, place = self.rounds.begin(step), self.rounds.place(step)
        target, source = self._kept(begin, place)
        shape = (self._size, *target.shape[1:])
        random = generator(self._seed, "bridge", step)
        u = (torch.rand(1, generator=random) + torch.arange(self._size) / self._size) % 1
        u = u[torch.randperm(self._size, generator=random)][self.rows]
        eps = torch.randn(shape, generator=random)[self.rows]
        return Batch(target, source, u, eps, Conditions(directions(len(target))))

    def _is_coupled(self, step: int) -> bool:
        """Return whether the pairs of a step are made by the first coupling, and not simulated."""
        return step < self.rounds.first and self._first_simulation is None

    def _independent_from(self, step: int) -> Iterator[Batch]:
        """Yield `_independent` from `step` on; prepared by threads unless several processes need all rows."""
        whole = self._wanted == self.rows
        return self.sides.from_step(step) if whole else (self._independent(number) for number in count(step))

    def _independent(self, step: int) -> Batch:
        """Return a batch of independent images, with all rows where the first coupling needs them."""
        own = self.rows
        self.rows = self._wanted
        try:
            return self.sides[step]
        finally:
            self.rows = own

    @property
    def _wanted(self) -> slice:
        return slice(0, self._size) if self._first.whole else self.rows

    def _coupled(self, batch: Batch, step: int) -> Batch:
        wanted = self._wanted
        draws = Draws(generator(self._seed, "coupling", step), self._size, wanted)
        made = self._first(self._simulation.denoiser.path, batch, draws)
        return made if wanted == self.rows else _part(made, self.rows)

    def _simulator(self, begin: int) -> Simulates:
        """Return what simulates the pairs of a round that begins at a step."""
        return self._simulation if begin or self._first_simulation is None else self._first_simulation

    def _begin_round(self) -> None:
        assert self.averages is not None
        self._simulation.use(self.averages.used)
        self._digest = ""

    def _kept(self, begin: int, place: int) -> tuple[Tensor, Tensor]:
        """Return targets and sources of a batch of a round, simulated if they are not kept."""
        if self._files is None:
            return self._timed(begin, place)
        self._digest = self._digest or self._simulator(begin).digest(self._seed, begin)
        found = self._files.read(self._digest, begin, place, self.rows)
        if found is not None and len(found) == 2:
            return found[0], found[1]
        pairs = self._timed(begin, place)
        self._files.write(self._digest, begin, place, self.rows, pairs)
        return pairs

    def _timed(self, begin: int, place: int) -> tuple[Tensor, Tensor]:
        began = time.monotonic()
        pairs = self._simulated(begin, place)
        self.seconds += time.monotonic() - began
        return pairs

    def _simulated(self, begin: int, place: int) -> tuple[Tensor, Tensor]:
        target = self.sides[begin + place].target
        source = torch.empty_like(target)
        own = slice(self.rows.start // 2, self.rows.stop // 2)
        for direction in (A_TO_B, B_TO_A):
            random = generator(self._seed, "simulation", 1 - direction, begin, place)
            draws = Draws(random, self._size // 2, own)
            source[direction::2] = self._simulator(begin)(target[direction::2], 1 - direction, draws)
        return target, source


def _part(batch: Batch, rows: slice) -> Batch:
    """Return some rows of a whole batch."""
    target, source, u, eps = (column[rows] for column in (batch.target, batch.source, batch.u, batch.eps))
    return Batch(target, source, u, eps, Conditions(directions(len(target))))
