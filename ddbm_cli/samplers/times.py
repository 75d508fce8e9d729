"""Time grids: the times of a sampler's steps, falling from t_max to the target.

gap     how far before t_max the first time is; a bridge is singular at t_max itself
t_min   the last time with noise; 0 ends at the estimate; if not given, the path's own, or 0 for paths that end there
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

Fraction = Annotated[float, Field(gt=0, lt=1)]


def _falling(fractions: tuple[float, ...]) -> tuple[float, ...]:
    if any(later >= earlier for earlier, later in pairwise(fractions)):
        raise ValueError("the times must fall")
    return fractions


@settings
class TimeGrid(ABC):
    """Base: a subclass defines `times`."""

    name: ClassVar[str]

    @abstractmethod
    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        """Return steps + 1 falling times, float64."""


def ends_at_estimate(path: ProbabilityPath, t_min: float | None) -> bool:
    """Return whether a grid with this `t_min` ends at time 0."""
    return path.ends_at_estimate if t_min is None else t_min == 0


@settings
class Karras(TimeGrid):
    """Equal steps in t^(1/rho) from t_max - gap to t_min, then one to 0 (arXiv:2206.00364, eq. 5).

    rho: larger values put more of the steps near the target; 7 in the papers, 0.6 to 0.8 in ECSI.
    """

    name: ClassVar[str] = "karras"

    rho: Annotated[float, Field(gt=0)] = 7.0
    gap: Annotated[float, Field(ge=0)] = 1e-4
    t_min: Annotated[float, Field(ge=0)] | None = None

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        first, last = path.before_source(self.gap), self.t_min or path.t_min
        fraction = torch.linspace(0, 1, steps, dtype=torch.float64)
        roots = first ** (1 / self.rho) + fraction * (last ** (1 / self.rho) - first ** (1 / self.rho))
        return torch.cat([roots**self.rho, torch.zeros(1, dtype=torch.float64)])


@settings
class Uniform(TimeGrid):
    """Equal steps from t_max - gap to t_min (DBIM, arXiv:2405.15885), or to 0 on paths that end at the estimate."""

    name: ClassVar[str] = "uniform"

    gap: Annotated[float, Field(ge=0)] = 1e-3
    t_min: Annotated[float, Field(ge=0)] | None = None

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        last = 0.0 if ends_at_estimate(path, self.t_min) else self.t_min or path.t_min
        return torch.linspace(path.before_source(self.gap), last, steps + 1, dtype=torch.float64)


@settings
class LogSNR(TimeGrid):
    """Equal steps in log(b / c) from t_max - gap to t_min (DPM-Solver, arXiv:2206.00927): many near both ends.

    Where they end at the estimate, the last step goes from the path's t_min to 0.
    """

    name: ClassVar[str] = "log-snr"

    gap: Annotated[float, Field(gt=0)] = 1e-3
    t_min: Annotated[float, Field(ge=0)] | None = None

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        ends = torch.tensor([path.before_source(self.gap), self.t_min or path.t_min], dtype=torch.float64)
        zero = ends.new_zeros(int(ends_at_estimate(path, self.t_min)))
        equal = steps - len(zero)
        if path.noise_free or equal < 1:  # log(b / c) is infinite; or there is one step only
            return torch.linspace(float(ends[0]), 0.0 if len(zero) else float(ends[1]), steps + 1, dtype=torch.float64)
        first, last = path.log_snr(ends)
        wanted = torch.linspace(float(first), float(last), equal + 1, dtype=torch.float64)
        return torch.cat([ends[:1], path.time_at(wanted[1:-1]), ends[1:], zero])


@settings
class Timesteps(TimeGrid):
    """A list of times, then 0; other numbers of steps interpolate the list (as arXiv:2404.14507 does).

    The interpolation is in log(fraction / (1 - fraction)), so that times stay close together near both ends.

    at: falling fractions of t_max, each in (0, 1). The default has times close to the source, where a bridge decides
        about large areas, none in the middle, where a small network produces blotches, and some near the target.
    """

    name: ClassVar[str] = "timesteps"

    at: Annotated[tuple[Fraction, ...], Field(min_length=2), AfterValidator(_falling)] = (
        *(0.9999, 0.999, 0.96),
        *(0.1, 0.03, 0.01, 0.003),
    )

    def times(self, path: ProbabilityPath, steps: int) -> Tensor:
        fractions = np.array(self.at)
        places = np.linspace(0, len(fractions) - 1, steps)
        log_odds = np.interp(places, np.arange(len(fractions)), np.log(fractions / (1 - fractions)))
        inner = torch.from_numpy(fractions if steps == len(fractions) else 1 / (1 + np.exp(-log_odds)))
        last_noise = path.before_source(path.t_max * (1 - float(inner[0])))
        times = (path.t_max * inner).clamp(max=last_noise)
        return torch.cat([times, torch.zeros(1, dtype=torch.float64)])
