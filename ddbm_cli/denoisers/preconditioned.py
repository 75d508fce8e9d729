"""DDBM's preconditioning: a network whose input and output have unit variance."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers.prediction import Prediction, Scalings
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import Coefficients, ProbabilityPath


@settings
class Preconditioned(Prediction):
    """DDBM's preconditioning (arXiv:2309.16948, App. A.5); with a = 0 it is EDM's (arXiv:2206.00364, Table 1).

    The network's input and output have unit variance:

        A = a^2 sigma_source^2 + b^2 sigma_data^2 + 2 a b cov + c^2
        in_ = A^(-1/2),  skip = (b sigma_data^2 + a cov) / A
        out = in_ sqrt(a^2 (sigma_data^2 sigma_source^2 - cov^2) + sigma_data^2 c^2)

    sigma_data, sigma_source: root mean square of target and source, values in -1..1; cov: mean of their product.
    time_scale: the input of the time embedding is time_scale * c_noise.
    c_noise: "log-time" is log(t) / 4 (the papers, with time_scale 1000); "log-snr" is log(b / c) / 4 within -2.5..2.5,
        which also distinguishes times near the source, where a bridge decides about large areas. On noise-free paths
        "log-snr" is constant; use "log-time" there.
    output: what F is. "mixture" is of target and noise (the papers). "target" is the target divided by sigma_data:
        skip = 0, out = sigma_data, with the weight of a mixture in the loss, at most 1 / (0.3 sigma_data)^2, similar
        to JiT (arXiv:2511.13720). A network with large patches and few channels cannot carry the noise of a patch,
        which the mixture requires, but can output a clean one.
    """

    name: ClassVar[str] = "preconditioned"

    LEAST_OUT: ClassVar[float] = 0.3
    """Of "target": `out` of the mixture, in units of sigma_data, below which the weight of the loss grows no more."""

    sigma_data: Annotated[float, Field(gt=0)] = 0.5
    sigma_source: Annotated[float, Field(gt=0)] = 0.5
    cov: float = 0.0
    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    c_noise: Literal["log-time", "log-snr"] = "log-time"
    output: Literal["mixture", "target"] = "mixture"

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients | None:
        zero = torch.zeros_like(t)
        return Coefficients(a=zero, b=zero + 1 / self.sigma_data, c=zero) if self.output == "target" else None

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        mixture = self._mixture(path, t)
        if self.output == "mixture":
            return mixture
        return mixture._replace(skip=torch.zeros_like(t), out=torch.full_like(t, self.sigma_data))

    def weight(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        out = self._mixture(path, t).out
        least = self.LEAST_OUT * self.sigma_data if self.output == "target" else 0.0
        return out.clamp(min=least) ** -2

    def _mixture(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        a, b, c = path.coefficients(t)
        variance, variance_source = self.sigma_data**2, self.sigma_source**2
        total = a**2 * variance_source + b**2 * variance + 2 * a * b * self.cov + c**2
        # Not negative for moments of data; rounding, in old cards to four digits, can make it so.
        independent = max(variance * variance_source - self.cov**2, 0.0)
        unknown = a**2 * independent + variance * c**2
        return Scalings(
            skip=(b * variance + a * self.cov) / total,
            source=torch.zeros_like(t),
            out=(unknown / total).sqrt(),
            in_=total.rsqrt(),
            time=self.time_scale * self._c_noise(path, t),
        )

    def _c_noise(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        if self.c_noise == "log-time":
            return t.log() / 4
        called = t.clamp(max=path.t_last)  # as `samplers.network_time`, also in training at the source itself
        return (path.log_snr(called) / 8).clamp(-2.5, 2.5)
