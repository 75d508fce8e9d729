"""Which times training looks at."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ddbm_cli.paths import Path
from ddbm_cli.settings import settings


@settings
class TimeDistribution(ABC):
    """Base: a subclass turns uniform numbers into times."""

    name: ClassVar[str]

    @abstractmethod
    def share(self, u: Tensor) -> Tensor:
        """Map u, uniform in 0..1, to a share of the way from t_min to t_max."""

    def times(self, path: Path, u: Tensor) -> Tensor:
        """Return times of `path` for u uniform in 0..1, float64 and strictly before t_max, where no noise is left."""
        last = path.t_max * (1 - 1e-4)
        return path.t_min + self.share(u.double()) * (last - path.t_min)


@settings
class UniformTimes(TimeDistribution):
    """Every time alike, as the released DDBM training does."""

    name: ClassVar[str] = "uniform"

    def share(self, u: Tensor) -> Tensor:
        return u


@settings
class ArcsineTimes(TimeDistribution):
    """More at both ends: near the source, where a bridge decides about large areas, and near the target's details."""

    name: ClassVar[str] = "arcsine"

    def share(self, u: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * u) ** 2
