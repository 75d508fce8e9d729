"""Brownian bridge (BBDM, arXiv:2205.07680).

    x_t = t x_T + (1 - t) x_0 + sqrt(2 s t (1 - t)) eps                    (1)

With s = 2 gamma^2 it is the path of ECSI (arXiv:2410.21553): c = 2 gamma sqrt(t (1 - t)), with the maximum gamma.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath


@settings
class BrownianBridge(ProbabilityPath):
    """BBDM's bridge: Brownian motion pinned at both images.

    variance: s in (1); 1 in the paper, larger values give more diverse results.
    """

    name: ClassVar[str] = "brownian"
    ends_at_estimate: ClassVar[bool] = True

    variance: Annotated[float, Field(gt=0)] = 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        return Coefficients(a=t, b=1 - t, c=torch.sqrt(2 * self.variance * t * (1 - t)))

    def derivatives(self, t: Tensor) -> Coefficients:
        one = torch.ones_like(t)
        return Coefficients(a=one, b=-one, c=self.variance * (1 - 2 * t) / self.coefficients(t).c)

    def one_minus_a(self, t: Tensor) -> Tensor:
        return 1 - t

    def time_at(self, log_snr: Tensor) -> Tensor:
        return 1 / (1 + 2 * self.variance * log_snr.double().exp())
