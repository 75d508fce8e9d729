"""The pairs of the first round of a training without pairs; see `couplings`."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.objectives import noise_source
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.training.batches import Batch


@settings
class Coupling(ABC):
    """Base: a subclass implements `__call__`."""

    name: ClassVar[str]

    def check(self, path: ProbabilityPath) -> None:  # noqa: B027 - most couplings suit every path
        """Check that the coupling suits a path.

        Raises:
            UsageError: it does not.
        """

    @abstractmethod
    def __call__(self, path: ProbabilityPath, batch: Batch, noise: Tensor) -> Batch:
        """Return the pairs to train on.

        Args:
            batch: independent images. noise: standard normal, of the shape of its targets.
        """


@settings
class Independent(Coupling):
    """Independent images of A and B: iterative Markovian fitting (IMF)."""

    name: ClassVar[str] = "independent"

    def __call__(self, path: ProbabilityPath, batch: Batch, noise: Tensor) -> Batch:
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

    def __call__(self, path: ProbabilityPath, batch: Batch, noise: Tensor) -> Batch:
        return replace(batch, source=noise_source(path, batch.target, noise))


COUPLINGS: dict[str, type[Coupling]] = {each.name: each for each in (Independent, FromReference)}
