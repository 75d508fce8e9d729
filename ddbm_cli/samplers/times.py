"""Time grids: where a sampler stops on its way from t_max to the target.

gap     how far before t_max the first time lies; a bridge is singular at t_max itself
t_min   the last time with noise; the path's own where not given
"""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.paths import Path
from ddbm_cli.settings import settings


@settings
class TimeGrid(ABC):
    """Base: a subclass gives `times`."""

    name: ClassVar[str]

    @abstractmethod
    def times(self, path: Path, steps: int) -> Tensor:
        """Return steps + 1 falling times, float64."""


@settings
class Karras(TimeGrid):
    """Equal steps in t^(1/rho) from t_max - gap to t_min, then one to 0 (arXiv:2206.00364, eq. 5).

    rho: larger puts more of the steps near the target; 7 in the papers, 0.6 to 0.8 in ECSI.
    """

    name: ClassVar[str] = "karras"

    rho: Annotated[float, Field(gt=0)] = 7.0
    gap: Annotated[float, Field(ge=0)] = 1e-4
    t_min: Annotated[float, Field(gt=0)] | None = None

    def times(self, path: Path, steps: int) -> Tensor:
        first, last = path.t_max - self.gap, self.t_min or path.t_min
        share = torch.linspace(0, 1, steps, dtype=torch.float64)
        roots = first ** (1 / self.rho) + share * (last ** (1 / self.rho) - first ** (1 / self.rho))
        return torch.cat([roots**self.rho, torch.zeros(1, dtype=torch.float64)])


@settings
class Uniform(TimeGrid):
    """Equal steps from t_max - gap to t_min (DBIM, arXiv:2405.15885)."""

    name: ClassVar[str] = "uniform"

    gap: Annotated[float, Field(ge=0)] = 1e-3
    t_min: Annotated[float, Field(gt=0)] | None = None

    def times(self, path: Path, steps: int) -> Tensor:
        return torch.linspace(path.t_max - self.gap, self.t_min or path.t_min, steps + 1, dtype=torch.float64)


@settings
class LogSNR(TimeGrid):
    """Equal steps in log(b / c) from t_max - gap to t_min: many near both ends (DPM-Solver, arXiv:2206.00927)."""

    name: ClassVar[str] = "log-snr"

    gap: Annotated[float, Field(gt=0)] = 1e-3
    t_min: Annotated[float, Field(gt=0)] | None = None

    def times(self, path: Path, steps: int) -> Tensor:
        ends = torch.tensor([path.t_max - self.gap, self.t_min or path.t_min], dtype=torch.float64)
        first, last = path.log_snr(ends)
        wanted = torch.linspace(float(first), float(last), steps + 1, dtype=torch.float64)
        return torch.cat([ends[:1], path.time_at(wanted[1:-1]), ends[1:]])


@settings
class Arcsine(TimeGrid):
    """Equal steps in arcsin(sqrt(t / t_max)) from t_max - gap to t_min: the quantiles of the arcsine law.

    Small steps near the source, where a bridge decides about large areas, and near the target's details.
    """

    name: ClassVar[str] = "arcsine"

    gap: Annotated[float, Field(ge=0)] = 1e-3
    t_min: Annotated[float, Field(gt=0)] | None = None

    def times(self, path: Path, steps: int) -> Tensor:
        ends = torch.tensor([path.t_max - self.gap, self.t_min or path.t_min], dtype=torch.float64)
        first, last = torch.asin(torch.sqrt(ends / path.t_max))
        inner = (
            path.t_max * torch.sin(torch.linspace(0, 1, steps + 1, dtype=torch.float64) * (last - first) + first) ** 2
        )
        return torch.cat([ends[:1], inner[1:-1], ends[1:]])
