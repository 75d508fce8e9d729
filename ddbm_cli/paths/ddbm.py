"""The two bridges of DDBM (arXiv:2309.16948, Table 1): a diffusion process pinned at its end.

With the reference process x_t = alpha_t x_0 + sigma_t eps and SNR = alpha^2 / sigma^2,

    a = (SNR_T / SNR_t) (alpha_t / alpha_T)
    b = alpha_t (1 - SNR_T / SNR_t)
    c^2 = sigma_t^2 (1 - SNR_T / SNR_t)                                    (1)
"""

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath
from ddbm_cli.paths.levels import NoiseLevels


def time_of_exponent(exponent: Tensor, beta_d: float, beta_min: float) -> Tensor:
    """Return t >= 0 of exponent = beta_d t^2 / 2 + beta_min t, without cancellation."""
    return 2 * exponent / (beta_min + (beta_min**2 + 2 * beta_d * exponent).sqrt())


@settings
class VEBridge(NoiseLevels):
    """DDBM's VE bridge: Brownian motion with sigma_t = t, pinned at T = sigma_max.

    sigma_max: the time of the source; 80 in the paper for edges, 20 for DIODE.
    sigma_min: the noise level where sampling may stop.
    """

    name: ClassVar[str] = "ve-bridge"

    def coefficients(self, t: Tensor) -> Coefficients:
        a = (t / self.sigma_max) ** 2
        # 1 - a as a product keeps its digits near T, where it vanishes.
        b = (1 - t / self.sigma_max) * (1 + t / self.sigma_max)
        return Coefficients(a=a, b=b, c=t * b.sqrt())

    def derivatives(self, t: Tensor) -> Coefficients:
        share = t / self.sigma_max
        root = ((1 - share) * (1 + share)).sqrt()
        rate = 2 * share / self.sigma_max
        return Coefficients(a=rate, b=-rate, c=root - share**2 / root)

    def one_minus_a(self, t: Tensor) -> Tensor:
        return self.coefficients(t).b

    def time_at(self, log_snr: Tensor) -> Tensor:
        # b^2 / c^2 = 1 / t^2 - 1 / T^2
        return (log_snr.double().exp() + self.sigma_max**-2).rsqrt()


@settings
class VPBridge(ProbabilityPath):
    """DDBM's VP bridge: log alpha_t = -(beta_d t^2 / 4 + beta_min t / 2), pinned at T = 1.

    beta_d, beta_min: slope and start of the noise rate; 2 and 0.1 in the released models.
    """

    name: ClassVar[str] = "vp-bridge"

    beta_d: Annotated[float, Field(ge=0)] = 2.0
    beta_min: Annotated[float, Field(gt=0)] = 0.1

    def _exponent(self, t: Tensor | float) -> Tensor:
        """The integral of the noise rate, log(1 + sigma^2 / alpha^2)."""
        t = torch.as_tensor(t, dtype=torch.float64)
        return self.beta_d * t**2 / 2 + self.beta_min * t

    @property
    def alpha_T(self) -> float:
        return math.exp(-0.5 * float(self._exponent(self.t_max)))

    def coefficients(self, t: Tensor) -> Coefficients:
        now, end = self._exponent(t), self._exponent(self.t_max)
        alpha = torch.exp(-now / 2)
        ratio = torch.expm1(now) / torch.expm1(end)  # SNR_T / SNR_t
        # (1 - ratio) without cancellation near T.
        rest = torch.exp(now) * torch.expm1(end - now) / torch.expm1(end)
        c = torch.sqrt(-torch.expm1(-now)) * torch.sqrt(rest)
        return Coefficients(a=ratio * alpha / self.alpha_T, b=alpha * rest, c=c)

    def derivatives(self, t: Tensor) -> Coefficients:
        # With B the exponent: a = sinh(B/2) / sinh(B_T/2), b = sinh((B_T - B)/2) / sinh(B_T/2) and
        # c^2 = expm1(B) expm1(B_T - B) / expm1(B_T).
        now, end = self._exponent(t), self._exponent(self.t_max)
        rate = self.beta_d * t + self.beta_min
        c = self.coefficients(t).c
        return Coefficients(
            a=rate / 2 * torch.cosh(now / 2) / torch.sinh(end / 2),
            b=-rate / 2 * torch.cosh((end - now) / 2) / torch.sinh(end / 2),
            c=rate * (torch.exp(end - now) - torch.exp(now)) / (2 * c * torch.expm1(end)),
        )

    def one_minus_a(self, t: Tensor) -> Tensor:
        now, end = self._exponent(t), self._exponent(self.t_max)
        left = (self.t_max - t) * (self.beta_d * (self.t_max + t) / 2 + self.beta_min)  # end - now
        return 2 * torch.cosh((end + now) / 4) * torch.sinh(left / 4) / torch.sinh(end / 2)

    def time_at(self, log_snr: Tensor) -> Tensor:
        # With B the exponent: b^2 / c^2 = 1 / expm1(B) - 1 / expm1(B_T)
        rest = log_snr.double().exp() + 1 / torch.expm1(self._exponent(self.t_max))
        return time_of_exponent(torch.log1p(1 / rest), self.beta_d, self.beta_min)
