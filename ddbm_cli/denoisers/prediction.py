"""What the output F of a network means: an affine map from it to an estimate of the target.

    x0 = skip x_t + source x_T + out F(in_ x_t, x_T; time)                 (1)

Five numbers say it for every method; they depend on the path and the time alone. `time` is what the network's
embedding is fed. The loss weight that makes F's error count alike at every time is 1 / out^2.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import I2SBBridge, ProbabilityPath


class Scalings(NamedTuple):
    """The numbers of (1), each in the shape of t, float64."""

    skip: Tensor
    source: Tensor
    out: Tensor
    in_: Tensor
    time: Tensor


@settings
class Prediction:
    """Base: a subclass gives `scalings`."""

    name: ClassVar[str]

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        """Return the numbers of (1) at times t (float64, any shape)."""
        raise NotImplementedError(f"{type(self).__name__}.scalings")


@settings
class Preconditioned(Prediction):
    """DDBM's preconditioning (arXiv:2309.16948, App. A.5); with a = 0 it is EDM's (arXiv:2206.00364, Table 1).

    The network sees an input of unit variance, and is asked for an output of unit variance:

        A = a^2 sigma_source^2 + b^2 sigma_data^2 + 2 a b cov + c^2
        in_ = A^(-1/2),  skip = (b sigma_data^2 + a cov) / A
        out = in_ sqrt(a^2 (sigma_data^2 sigma_source^2 - cov^2) + sigma_data^2 c^2)

    sigma_data, sigma_source: root mean square of target and source, values in -1..1; cov: mean of their product.
    time_scale: the embedding is fed time_scale * c_noise.
    c_noise: "log-time" is log(t) / 4 (the papers, with time_scale 1000); "log-snr" is log(b / c) / 4 within -2.5..2.5,
        which also tells times near the source apart, where a bridge decides about large areas.
    """

    name: ClassVar[str] = "preconditioned"

    sigma_data: Annotated[float, Field(gt=0)] = 0.5
    sigma_source: Annotated[float, Field(gt=0)] = 0.5
    cov: float = 0.0
    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    c_noise: Literal["log-time", "log-snr"] = "log-time"

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        a, b, c = path.coefficients(t)
        variance, variance_source = self.sigma_data**2, self.sigma_source**2
        total = a**2 * variance_source + b**2 * variance + 2 * a * b * self.cov + c**2
        unknown = a**2 * (variance * variance_source - self.cov**2) + variance * c**2
        return Scalings(
            skip=(b * variance + a * self.cov) / total,
            source=torch.zeros_like(t),
            out=(unknown / total).sqrt(),
            in_=total.rsqrt(),
            time=self.time_scale * self._clock(path, t),
        )

    def _clock(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        if self.c_noise == "log-time":
            return t.log() / 4
        return (path.log_snr(t) / 8).clamp(-2.5, 2.5)


@settings
class TargetPrediction(Prediction):
    """The network gives the target itself.

    time_scale, time_shift: the embedding is fed time_scale * t / t_max - time_shift. Networks of N discrete steps
        count them from 0: N and 1.
    """

    name: ClassVar[str] = "x0"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    time_shift: float = 0.0

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        time = self.time_scale * t / path.t_max - self.time_shift
        return Scalings(skip=zero, source=zero, out=one, in_=one, time=time)


@settings
class NoisePrediction(Prediction):
    """The network gives eps (DDPM, arXiv:2006.11239). Says nothing at the source's own time, where b = 0.

    time_scale, time_shift: as of `TargetPrediction`.
    """

    name: ClassVar[str] = "noise"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    time_shift: float = 0.0

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        a, b, c = path.coefficients(t)
        time = self.time_scale * t / path.t_max - self.time_shift
        return Scalings(skip=1 / b, source=-a / b, out=-c / b, in_=torch.ones_like(t), time=time)


@settings
class VPrediction(Prediction):
    """The network gives v = b eps - c x_0 (arXiv:2202.00512, App. D).

    time_scale, time_shift: as of `TargetPrediction`.
    """

    name: ClassVar[str] = "v"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    time_shift: float = 0.0

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        a, b, c = path.coefficients(t)
        total = b**2 + c**2
        time = self.time_scale * t / path.t_max - self.time_shift
        return Scalings(skip=b / total, source=-a * b / total, out=-c / total, in_=torch.ones_like(t), time=time)


@settings
class VelocityPrediction(Prediction):
    """The network gives the drift of the ODE, a. x_T + b. x_0 + c. eps (flow matching, arXiv:2209.03003)."""

    name: ClassVar[str] = "velocity"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        (a, b, c), (da, db, dc) = path.coefficients(t), path.derivatives(t)
        if path.noise_free:
            # x_T = (x_t - b x_0) / a, put into the drift; a form without a quotient serves a = 0 too.
            whole = a * db - b * da
            skip, source, out = -da / whole, torch.zeros_like(t), a / whole
        else:
            whole = c * db - b * dc
            skip, source, out = -dc / whole, (a * dc - c * da) / whole, c / whole
        return Scalings(
            skip=skip, source=source, out=out, in_=torch.ones_like(t), time=self.time_scale * t / path.t_max
        )


@settings
class ResidualPrediction(Prediction):
    """The network gives x_t - x_0 (BBDM's "grad" objective, arXiv:2205.07680)."""

    name: ClassVar[str] = "residual"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        one = torch.ones_like(t)
        return Scalings(skip=one, source=torch.zeros_like(t), out=-one, in_=one, time=self.time_scale * t / path.t_max)


@settings
class I2SBPrediction(Prediction):
    """The network gives (x_t - x_0) / s_f, s_f the noise gathered since the target (arXiv:2302.05872, eq. 12).

    t_first: where the released models' clock begins. It runs to 1 in as many float32 ticks as the path has rows.
    """

    name: ClassVar[str] = "i2sb"

    t_first: Annotated[float, Field(gt=0, lt=1)] = 1e-4

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        if not isinstance(path, I2SBBridge):
            raise UsageError(f"prediction 'i2sb' does not fit path '{path.name}'", hint="use it with path 'i2sb'")
        one = torch.ones_like(t)
        # The released networks were fed float32 ticks; the last digits matter to nobody but an exact comparison.
        ticks = torch.linspace(self.t_first, 1.0, path.intervals, dtype=torch.float32, device=t.device)
        time = (ticks * path.intervals)[path.rows(t)].double()
        return Scalings(skip=one, source=torch.zeros_like(t), out=-path.source_noise(t), in_=one, time=time)
