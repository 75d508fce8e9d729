"""The pairs of the first round of a training without pairs; see `couplings`."""

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import Conditions
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.settings import settings
from ddbm_cli.models import DDIB, locate
from ddbm_cli.models.load import load_file
from ddbm_cli.objectives import noise_source
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import finish
from ddbm_cli.training.batches import Batch
from ddbm_cli.training.sides import A_TO_B

ITERATIONS = 200
"""Sinkhorn iterations of an entropic plan."""


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch: drawn for all of its rows, so that they do not depend on the number of processes.

    random: what draws. size: rows of the batch. rows: those that are used here.
    """

    random: torch.Generator
    size: int
    rows: slice

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal noise for the used rows, each of the shape of those of `like`."""
        return torch.randn((self.size, *like.shape[1:]), generator=self.random)[self.rows].to(like)


@settings
class Coupling(ABC):
    """Base: a subclass implements `__call__`.

    whole: it needs all rows of a batch, in every process.
    """

    name: ClassVar[str]
    whole: ClassVar[bool] = False

    def simulation(self, device: torch.device) -> "Simulates | None":
        """Return what simulates the pairs, for couplings that do; they keep them as those of later rounds.

        Raises:
            ModelError: a model cannot be read.
        """
        return None

    def check(self, path: ProbabilityPath) -> None:  # noqa: B027 - most couplings suit every path
        """Check that the coupling suits a path, and that what it needs is installed.

        Raises:
            UsageError: it does not.
        """

    @abstractmethod
    def __call__(self, path: ProbabilityPath, batch: Batch, draws: Draws) -> Batch:
        """Return the pairs to train on.

        Args:
            batch: independent images, of which each row's target stays.
            draws: random numbers for its rows.
        """


@settings
class Independent(Coupling):
    """Independent images of A and B: iterative Markovian fitting (IMF)."""

    name: ClassVar[str] = "independent"

    def __call__(self, path: ProbabilityPath, batch: Batch, draws: Draws) -> Batch:
        return batch


@settings
class FromReference(Coupling):
    """Each image, and the end of the reference process from it: iterative proportional fitting (IPF)."""

    name: ClassVar[str] = "reference"

    def check(self, path: ProbabilityPath) -> None:
        if path.noise_free:
            raise UsageError(
                f"--coupling reference needs noise, and path '{path.name}' has none",
                hint="use --coupling independent, or --path brownian",
            )

    def __call__(self, path: ProbabilityPath, batch: Batch, draws: Draws) -> Batch:
        return replace(batch, source=noise_source(path, batch.target, draws.normal(batch.target)))


@settings
class OptimalTransport(Coupling):
    """Optimal transport between the images of A and of B in a batch (arXiv:2302.00482), by the squared distance.

    entropy: weight of the entropy of the plan, in squared units of values in -1..1, summed over an image; pairs are
        drawn from the plan of Sinkhorn's iterations. Twice the variance of the reference is the Schrödinger bridge's. 0
        is the exact assignment (extra `unpaired`).
    """

    name: ClassVar[str] = "ot"
    whole: ClassVar[bool] = True

    entropy: Annotated[float, Field(ge=0)] = 0.0

    def check(self, path: ProbabilityPath) -> None:
        if not self.entropy and importlib.util.find_spec("scipy") is None:
            raise UsageError(
                "--coupling ot needs SciPy for an exact plan",
                hint="pip install 'ddbm-cli[unpaired]', or pass --coupling ot:entropy=10",
            )

    def __call__(self, path: ProbabilityPath, batch: Batch, draws: Draws) -> Batch:
        assert batch.conditions.label is not None
        to_b = (batch.conditions.label == A_TO_B).view(-1, 1, 1, 1)
        first = torch.where(to_b, batch.source, batch.target)
        second = torch.where(to_b, batch.target, batch.source)
        cost = torch.cdist(first.flatten(1).double(), second.flatten(1).double()).square()
        second = second[self._partners(cost, draws.random)]
        target, source = torch.where(to_b, second, first), torch.where(to_b, first, second)
        return Batch(target, source, batch.u, batch.eps, Conditions(batch.conditions.label))

    def _partners(self, cost: Tensor, random: torch.Generator) -> Tensor:
        """Return the partner (N,) of each row of a matrix of costs (N, N)."""
        if not self.entropy:
            from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

            return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
        return torch.multinomial(entropic_plan(cost, self.entropy), 1, generator=random).squeeze(1)


def entropic_plan(cost: Tensor, entropy: float) -> Tensor:
    """Return the plan (N, N) between uniform weights with the least cost minus weighted entropy; its sum is N.

    By Sinkhorn's iterations (arXiv:1306.0895) in the logarithm; the last one makes the rows exact.
    """
    rows, columns = torch.zeros(len(cost), 1).to(cost), torch.zeros(1, len(cost)).to(cost)
    kernel = -cost / entropy
    for _ in range(ITERATIONS):
        columns = -torch.logsumexp(kernel + rows, 0, keepdim=True)
        rows = -torch.logsumexp(kernel + columns, 1, keepdim=True)
    return (kernel + rows + columns).exp()


@settings
class FromPriors(Independent):
    """The translation by two priors, DDIB (arXiv:2203.08382): by way of noise.

    a, b: models of the images of A and of B, trained with --task prior. nfe: network evaluations of a translation.
    """

    name: ClassVar[str] = "priors"

    a: str
    b: str
    nfe: Annotated[int, Field(ge=2, le=10_000)] = 40

    def simulation(self, device: torch.device) -> "Simulates":
        priors = [load_file(locate(name), device=str(device), dtype="fp32") for name in (self.a, self.b)]
        return PriorSimulation(DDIB(*priors), DDIB(*priors[::-1]), nfe=self.nfe)


class PriorSimulation:
    """Simulates the other end with two priors, from A to B and from B to A."""

    def __init__(self, *ways: DDIB, nfe: int) -> None:
        self._ways, self._nfe = ways, nfe

    def digest(self, *more: object) -> str:
        """Return the digest of what the simulation depends on, and of more values."""
        return sha256(repr([*(way.digest for way in self._ways), self._nfe, *more]).encode())

    def __call__(self, begin: Tensor, direction: int, draws: Draws) -> Tensor:
        """Return the translation of images (B, 3, H, W), on the CPU."""
        way = self._ways[direction]
        return finish(way.translate(begin, draws.normal, way.plan(nfe=self._nfe)))


class Simulates(Protocol):
    """What simulates the other end of pairs."""

    def digest(self, *more: object) -> str: ...

    def __call__(self, begin: Tensor, direction: int, draws: Draws) -> Tensor: ...


COUPLINGS: dict[str, type[Coupling]] = {
    each.name: each for each in (Independent, FromReference, OptimalTransport, FromPriors)
}
