"""DDPM's process (arXiv:2006.11239): the image fades in N small steps, each of which keeps a fraction 1 - beta_i.

    b^2 = (1 - beta_1) ... (1 - beta_i),  c^2 = 1 - b^2,  at t = i / N                  (1)

Between two steps log b^2 is interpolated linearly, so that every t in 0..1 is a time; at t = 0 b = 1 and c = 0.
"""

import math
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath

MOST = 0.999
"""The largest beta of the cosine schedule."""

OFFSET = 0.008


@settings
class Betas:
    """A schedule of N noise steps.

    schedule: "linear": beta is linear from `first` to `last`; "scaled-linear": sqrt(beta) is (latent diffusion,
        arXiv:2112.10752); "cosine": b is a quarter of a cosine (arXiv:2102.09672), `first` and `last` are ignored.
    first, last: beta of the first and of the last step.
    intervals: N, the number of steps.
    """

    schedule: Literal["linear", "scaled-linear", "cosine"] = "linear"
    first: Annotated[float, Field(gt=0, lt=1)] = 0.0001
    last: Annotated[float, Field(gt=0, lt=1)] = 0.02
    intervals: Annotated[int, Field(ge=2, le=2**20)] = 1000


@settings
class DDPM(Betas, ProbabilityPath):
    """The process of DDPM, improved DDPM and ADM, as their networks were trained; its fields are those of `Betas`."""

    name: ClassVar[str] = "ddpm"
    discrete: ClassVar[bool] = True
    ends_at_estimate: ClassVar[bool] = True
    source_free: ClassVar[bool] = True

    @property
    def t_min(self) -> float:
        """The time of the first step."""
        return 1 / self.intervals

    @cached_property
    def table(self) -> Tensor:
        """log b^2 after 0, 1, ... N steps, float64 (N + 1,)."""
        count = self.intervals
        if self.schedule != "cosine":
            power = 2 if self.schedule == "scaled-linear" else 1
            ends = self.first ** (1 / power), self.last ** (1 / power)
            betas = torch.linspace(*ends, count, dtype=torch.float64) ** power
        else:
            share = torch.arange(count + 1, dtype=torch.float64) / count
            kept = torch.cos((share + OFFSET) / (1 + OFFSET) * math.pi / 2).square()
            betas = (1 - kept[1:] / kept[:-1]).clamp(max=MOST)
        return torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])

    def coefficients(self, t: Tensor) -> Coefficients:
        log_kept = self._log_kept(t)[0]
        return Coefficients(a=torch.zeros_like(t), b=torch.exp(log_kept / 2), c=torch.sqrt(-torch.expm1(log_kept)))

    def derivatives(self, t: Tensor) -> Coefficients:
        log_kept, slope = self._log_kept(t)
        _, b, c = self.coefficients(t)
        return Coefficients(a=torch.zeros_like(t), b=slope * b / 2, c=-slope * torch.exp(log_kept) / (2 * c))

    def time_at(self, log_snr: Tensor) -> Tensor:
        log_kept = torch.nn.functional.logsigmoid(log_snr.double())  # b^2 / c^2 = b^2 / (1 - b^2)
        row = (torch.searchsorted(-self.table, -log_kept) - 1).clamp(0, self.intervals - 1)
        share = (log_kept - self.table[row]) / (self.table[row + 1] - self.table[row])
        return ((row + share) / self.intervals).clamp(0, 1)

    def _log_kept(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return log b^2 and its derivative by t."""
        place = t * self.intervals
        row = place.detach().floor().long().clamp(0, self.intervals - 1)
        table = self.table.to(t.device)
        rise = table[row + 1] - table[row]
        return table[row] + (place - row) * rise, rise * self.intervals
