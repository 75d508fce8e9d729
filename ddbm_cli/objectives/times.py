"""Distributions of training times."""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath


@settings
class TimeDistribution(ABC):
    """Base: a subclass implements `share`."""

    name: ClassVar[str]

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
class UniformTimes(TimeDistribution):
    """Every time alike, as the released DDBM training does."""

    name: ClassVar[str] = "uniform"

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        return u


@settings
class ArcsineTimes(TimeDistribution):
    """More at both ends: near the source, where a bridge decides about large areas, and near the target's details."""

    name: ClassVar[str] = "arcsine"

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * u) ** 2


@settings
class LogNormalTimes(TimeDistribution):
    """Noise levels c / b whose logarithm is normal (EDM, arXiv:2206.00364, Table 1): most at the middle ones.

    mean, std: of log(c / b); -1.2 and 1.2 in the paper.
    """

    name: ClassVar[str] = "log-normal"

    mean: float = -1.2
    std: Annotated[float, Field(gt=0)] = 1.2

    def share(self, path: ProbabilityPath, u: Tensor) -> Tensor:
        log_level = self.mean + self.std * torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
        return ((path.time_at(-2 * log_level) - path.t_min) / (_last(path) - path.t_min)).clamp(0, 1)
