"""Time grids: where a sampler stops on its way from t_max to the target.

gap     how far before t_max the first time lies; a bridge is singular at t_max itself
t_min   the last time with noise; the path's own where not given
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath

Share = Annotated[float, Field(gt=0, lt=1)]


def _falling(shares: tuple[float, ...]) -> tuple[float, ...]:
    if any(later >= earlier for earlier, later in pairwise(shares)):
        raise ValueError("the times must fall")
    return shares


@settings
class TimeGrid(ABC):
    """Base: a subclass gives `times`."""

    name: ClassVar[str]

    @abstractmethod
    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
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

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
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

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        return torch.linspace(path.t_max - self.gap, self.t_min or path.t_min, steps + 1, dtype=torch.float64)


@settings
class LogSNR(TimeGrid):
    """Equal steps in log(b / c) from t_max - gap to t_min: many near both ends (DPM-Solver, arXiv:2206.00927)."""

    name: ClassVar[str] = "log-snr"

    gap: Annotated[float, Field(gt=0)] = 1e-3
    t_min: Annotated[float, Field(gt=0)] | None = None

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        ends = torch.tensor([path.t_max - self.gap, self.t_min or path.t_min], dtype=torch.float64)
        first, last = path.log_snr(ends)
        wanted = torch.linspace(float(first), float(last), steps + 1, dtype=torch.float64)
        return torch.cat([ends[:1], path.time_at(wanted[1:-1]), ends[1:]])


@settings
class Timesteps(TimeGrid):
    """Times that were chosen one by one, then 0; other numbers of steps interpolate them (as arXiv:2404.14507 does).

    Interpolated is log(share / (1 - share)), so that times stay close together near both ends.

    at: falling shares of t_max, each in (0, 1). The default stays close to the source, where a bridge decides about
        large areas, leaps over the middle, where a small network turns noise into stains, and cleans up at the end.
    """

    name: ClassVar[str] = "timesteps"

    at: Annotated[tuple[Share, ...], Field(min_length=2), AfterValidator(_falling)] = (
        *(0.9999, 0.999, 0.96),
        *(0.1, 0.03, 0.01, 0.003),
    )

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        shares = np.array(self.at)
        places = np.linspace(0, len(shares) - 1, steps)
        log_odds = np.interp(places, np.arange(len(shares)), np.log(shares / (1 - shares)))
        inner = torch.from_numpy(shares if steps == len(shares) else 1 / (1 + np.exp(-log_odds)))
        return torch.cat([path.t_max * inner, torch.zeros(1, dtype=torch.float64)])
