"""Rectified flow (arXiv:2209.03003): straight lines without noise, x_t = t x_T + (1 - t) x_0."""

from typing import ClassVar

import torch
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath


@settings
class RectifiedFlow(ProbabilityPath):
    """The straight line between the two images; c = 0."""

    name: ClassVar[str] = "rectified"

    @property
    def noise_free(self) -> bool:
        return True

    def coefficients(self, t: Tensor) -> Coefficients:
        return Coefficients(a=t, b=1 - t, c=torch.zeros_like(t))

    def derivatives(self, t: Tensor) -> Coefficients:
        one = torch.ones_like(t)
        return Coefficients(a=one, b=-one, c=torch.zeros_like(t))
