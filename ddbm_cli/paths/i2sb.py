"""I2SB (arXiv:2302.05872): a bridge given as a table over discrete times.

With s_f^2 and s_b^2 the variance accumulated from the target's end and from the source's end, both including the
step of the row, and s^2 the total,

    a = s_f^2 / s^2,   b = s_b^2 / s^2,   c = s_f s_b / s                  (1)

Row i is at t = i / (intervals - 1). The table is exactly that of training, not an interpolating formula; see
`own_step`. With `ot_ode` there is no noise (the paper's Proposition 3.4): c = 0.
"""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath


@settings
class I2SBBridge(ProbabilityPath):
    """I2SB's bridge, a table: the noise rate rises to the middle, quadratically, and falls again.

    intervals: rows of the table. beta_min, beta_max: noise rate at the ends and in the middle, per unit of time.
    own_step: the variance of a row's own step counts "twice", in s_f^2 and s_b^2, so that a + b exceeds 1 by its
        fraction (DBIM's table); or "once", in s_f^2: then a + b = 1, and the implicit step is I2SB's own update.
    ot_ode: train and sample without noise.
    """

    name: ClassVar[str] = "i2sb"
    discrete: ClassVar[bool] = True

    intervals: Annotated[int, Field(ge=4, le=2**20, multiple_of=2)] = 1000
    beta_min: Annotated[float, Field(gt=0)] = 0.1
    beta_max: Annotated[float, Field(gt=0)] = 0.3
    own_step: Literal["twice", "once"] = "twice"
    ot_ode: bool = False

    @property
    def noise_free(self) -> bool:
        return self.ot_ode

    @cached_property
    def table(self) -> Coefficients:
        """The rows of (1), float64 (intervals,)."""
        forward, backward = self.gathered
        whole = forward[-1]
        c = torch.zeros_like(forward) if self.ot_ode else (forward * backward / whole).sqrt()
        return Coefficients(a=forward / whole, b=backward / whole, c=c)

    @cached_property
    def gathered(self) -> tuple[Tensor, Tensor]:
        """s_f^2 and s_b^2 of each row, float64 (intervals,)."""
        roots = torch.linspace(self.beta_min**0.5, self.beta_max**0.5, self.intervals, dtype=torch.float64)
        half = (roots**2 / self.intervals)[: self.intervals // 2]
        betas = torch.cat([half, half.flip(0)])
        forward = betas.cumsum(0)
        return forward, (betas.flip(0).cumsum(0).flip(0) if self.own_step == "twice" else forward[-1] - forward)

    def before_source(self, gap: float) -> float:
        last = (self.intervals - 2) / (self.intervals - 1)
        return min(self.t_max - gap, last) if gap > 0 else self.t_max

    def rows(self, t: Tensor) -> Tensor:
        """Return the row nearest to each time."""
        return (t * (self.intervals - 1)).round().long().clamp(0, self.intervals - 1)

    def coefficients(self, t: Tensor) -> Coefficients:
        rows = self.rows(t)
        return Coefficients(*(column.to(t.device)[rows] for column in self.table))

    def derivatives(self, t: Tensor) -> Coefficients:
        """Return central differences of the table, one-sided at its ends."""
        rows, last = self.rows(t), self.intervals - 1
        before, after = (rows - 1).clamp(min=0), (rows + 1).clamp(max=last)
        span = (after - before).double() / last
        columns = (column.to(t.device) for column in self.table)
        return Coefficients(*((column[after] - column[before]) / span for column in columns))

    def redrawn(self, t: Tensor, s: Tensor) -> Tensor:
        """Return s_f(s) sqrt(1 - s_f(s)^2 / s_f(t)^2): DBIM's formula for its table, where a + b exceeds 1."""
        now, then = self.source_noise(t), self.source_noise(s)
        return then * (1 - (then / now) ** 2).clamp(min=0).sqrt()

    def time_at(self, log_snr: Tensor) -> Tensor:
        """Return the time of the last row that has at least this log-SNR."""
        rows = self.log_snr(torch.arange(self.intervals, dtype=torch.float64) / (self.intervals - 1))
        last = torch.searchsorted(-rows, -log_snr.double(), right=True) - 1
        return last.clamp(min=0).double() / (self.intervals - 1)

    def source_noise(self, t: Tensor) -> Tensor:
        """Return s_f, the standard deviation accumulated from the target's end; c = s_f sqrt(b) without `ot_ode`."""
        return self.gathered[0].to(t.device)[self.rows(t)].sqrt()
