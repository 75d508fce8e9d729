"""Source-free paths (a = 0): the diffusion processes that generate images from noise.

VE      b = 1, c = t                                             (EDM, arXiv:2206.00364)
VP      b = exp(-B/2), c = sqrt(1 - exp(-B)), B = beta_d t^2 / 2 + beta_min t  (arXiv:2011.13456)
cosine  b = cos(pi t / 2), c = sin(pi t / 2)                     (arXiv:2102.09672 without its offset)
"""

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath
from ddbm_cli.paths.ddbm import time_of_exponent
from ddbm_cli.paths.levels import NoiseLevels


@settings
class VE(NoiseLevels):
    """Noise of growing strength added to an unchanged image.

    sigma_max: the largest noise level, equal to its time.
    sigma_min: the noise level where sampling may stop; 0.002 for sigma_max 80.
    """

    name: ClassVar[str] = "ve"
    source_free: ClassVar[bool] = True

    def coefficients(self, t: Tensor) -> Coefficients:
        return Coefficients(a=torch.zeros_like(t), b=torch.ones_like(t), c=t)

    def derivatives(self, t: Tensor) -> Coefficients:
        return Coefficients(a=torch.zeros_like(t), b=torch.zeros_like(t), c=torch.ones_like(t))

    def time_at(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr.double() / 2).clamp(max=self.sigma_max)


@settings
class VP(ProbabilityPath):
    """The image fades as the noise grows, b^2 + c^2 = 1.

    beta_d, beta_min: growth and start of the noise rate; 19.9 and 0.1 in the paper.
    """

    name: ClassVar[str] = "vp"
    source_free: ClassVar[bool] = True

    beta_d: Annotated[float, Field(ge=0)] = 19.9
    beta_min: Annotated[float, Field(gt=0)] = 0.1

    def coefficients(self, t: Tensor) -> Coefficients:
        exponent = self.beta_d * t**2 / 2 + self.beta_min * t
        c = torch.sqrt(-torch.expm1(-exponent))
        return Coefficients(a=torch.zeros_like(t), b=torch.exp(-exponent / 2), c=c)

    def derivatives(self, t: Tensor) -> Coefficients:
        _, b, c = self.coefficients(t)
        half_rate = (self.beta_d * t + self.beta_min) / 2
        return Coefficients(a=torch.zeros_like(t), b=-half_rate * b, c=half_rate * b**2 / c)

    def time_at(self, log_snr: Tensor) -> Tensor:
        exponent = torch.nn.functional.softplus(-log_snr.double(), threshold=700)  # b^2 / c^2 = 1 / expm1(exponent)
        return time_of_exponent(exponent, self.beta_d, self.beta_min).clamp(max=self.t_max)


@settings
class Cosine(ProbabilityPath):
    """A quarter of a circle from image to noise, b^2 + c^2 = 1."""

    name: ClassVar[str] = "cosine"
    source_free: ClassVar[bool] = True

    def coefficients(self, t: Tensor) -> Coefficients:
        angle = math.pi / 2 * t
        return Coefficients(a=torch.zeros_like(t), b=torch.cos(angle), c=torch.sin(angle))

    def derivatives(self, t: Tensor) -> Coefficients:
        _, b, c = self.coefficients(t)
        return Coefficients(a=torch.zeros_like(t), b=-math.pi / 2 * c, c=math.pi / 2 * b)

    def time_at(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr.double() / 2)) * 2 / math.pi
