"""Distributions of training times."""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath


@settings
class TimeDistribution(ABC):
    """Base: a subclass implements `share`."""

    name: ClassVar[str]

    @property
    def count(self) -> int | None:
        """Number of different times, None where they are continuous."""
        return None

    @abstractmethod
    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        """Map u, uniform in 0..1, to the fraction of the interval from t_min to t_max."""

    def times(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        """Return times of `path` for u uniform in 0..1, float64 and strictly before t_max, where no noise is left."""
        return path.t_min + self.share(path, u.double()) * (_last(path) - path.t_min)


def _last(path: ProbabilityPath) -> float:
    """Return the largest time of training; `t_last` of bridges, the same fraction of t_max on other paths."""
    return path.t_max * (1 - 1e-4)


@settings
class ContinuousTimes(TimeDistribution):
    """Base of those that have every time.

    at_source: how often, in 0..1, the time is that of the source itself, at which a bridge is evaluated first.
        At all other times the state has a part of the target. Where the path has little noise, as on large images, that
        part shows the whole colour and shape, which the network then does not learn to choose.
    """

    at_source: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def times(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        u, most = u.double(), 1 - self.at_source
        return torch.where(u < most, super().times(path, (u / most).clamp(max=1)), path.at_source)


@settings
class UniformTimes(ContinuousTimes):
    """Every time alike, as the released DDBM training does."""

    name: ClassVar[str] = "uniform"

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        return u


@settings
class ArcsineTimes(ContinuousTimes):
    """More at both ends: near the source, where a bridge decides about large areas, and near the target's details."""

    name: ClassVar[str] = "arcsine"

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * u) ** 2


@settings
class LogNormalTimes(ContinuousTimes):
    """Noise levels c / b whose logarithm is normal (EDM, arXiv:2206.00364, Table 1): most at the middle ones.

    mean, std: of log(c / b); -1.2 and 1.2 in the paper.
    """

    name: ClassVar[str] = "log-normal"

    mean: float = -1.2
    std: Annotated[float, Field(gt=0)] = 1.2

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        log_level = self.mean + self.std * torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
        return ((path.time_at(-2 * log_level) - path.t_min) / (_last(path) - path.t_min)).clamp(0, 1)


@settings
class DiscreteTimes(TimeDistribution):
    """Some times alone, such as those that a model of few evaluations is sampled at (LBM, arXiv:2503.07535).

    The fractions are of t_max itself. At 1 the state is the source.

    at: fractions of t_max. weights: how often each is drawn, in parts of their sum; alike if not given.
    """

    name: ClassVar[str] = "discrete"

    at: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=64)] = (
        0.25,
        0.5,
        0.75,
        1.0,
    )
    weights: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(max_length=64)] = ()

    @property
    def count(self) -> int | None:
        return len(set(self.at))

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        if len(self.weights) not in (0, len(self.at)):
            raise UsageError(
                f"times 'discrete': {len(self.at)} times and {len(self.weights)} weights",
                hint="pass a weight for each time",
            )
        weights = torch.tensor(self.weights or (1.0,) * len(self.at), dtype=torch.float64)
        place = torch.searchsorted(weights.cumsum(0) / weights.sum(), u.double().clamp(max=1 - 1e-9), right=True)
        return torch.tensor(self.at, dtype=torch.float64)[place.clamp(max=len(self.at) - 1)]

    def times(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        return (path.t_max * self.share(path, u)).clamp(path.t_min, path.at_source)
