"""What the output F of a network means: an affine map from it to the estimate of the target.

    x0 = skip x_t + source x_T + out F(in_ x_t + shift x_T, x_T; time)     (1)

These numbers depend on the path and the time only. `time` is the input of the network's time embedding; `shift` is 0
but for networks of diffusion models. The loss weight 1 / out^2 makes the error of F count equally at every time;
`DriftPrediction` has another.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import DDPM, Betas, Coefficients, I2SBBridge, ProbabilityPath


class Scalings(NamedTuple):
    """The numbers of (1) but `shift`, each in the shape of t, float64."""

    skip: Tensor
    source: Tensor
    out: Tensor
    in_: Tensor
    time: Tensor


@settings
class Prediction:
    """Base: a subclass defines `scalings`, and `meaning` unless its F is defined by its moments."""

    name: ClassVar[str]
    needs_noise: ClassVar[bool] = False
    """Whether the network is called with states that have the noise of their time only, never with the source alone."""

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients | None:
        """Return the weights of x_T, x_0 and eps in the F of a perfect network; None if moments define F."""
        return None

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        """Return the numbers of (1) at times t (float64, any shape)."""
        raise NotImplementedError(f"{type(self).__name__}.scalings")

    def weight(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        """Return the weight of the squared error of x0 in the loss, in the shape of t: by default 1 / out^2."""
        return self.scalings(path, t).out ** -2

    def shift(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        """Return the weight of x_T in the network's first input at times t, in the shape of t."""
        return torch.zeros_like(t)


@settings
class TargetPrediction(Prediction):
    """The network outputs the target itself.

    time_scale, time_shift: the input of the time embedding is time_scale * t / t_max - time_shift; N and 1 for
        networks of N discrete steps that are counted from 0.
    """

    name: ClassVar[str] = "x0"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    time_shift: float = 0.0

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        zero = torch.zeros_like(t)
        return Coefficients(a=zero, b=zero + 1, c=zero)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        time = self.time_scale * t / path.t_max - self.time_shift
        return Scalings(skip=zero, source=zero, out=one, in_=one, time=time)


@settings
class NoisePrediction(Prediction):
    """The network outputs eps (DDPM, arXiv:2006.11239). Not defined at t_max of a bridge, where b = 0.

    time_scale, time_shift: as of `TargetPrediction`.
    """

    name: ClassVar[str] = "noise"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    time_shift: float = 0.0

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        zero = torch.zeros_like(t)
        return Coefficients(a=zero, b=zero, c=zero + 1)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        a, b, c = path.coefficients(t)
        time = self.time_scale * t / path.t_max - self.time_shift
        return Scalings(skip=1 / b, source=-a / b, out=-c / b, in_=torch.ones_like(t), time=time)


@settings
class VPrediction(Prediction):
    """The network outputs v = b eps - c x_0 (arXiv:2202.00512, App. D).

    time_scale, time_shift: as of `TargetPrediction`.
    """

    name: ClassVar[str] = "v"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0
    time_shift: float = 0.0

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        _, b, c = path.coefficients(t)
        return Coefficients(a=torch.zeros_like(t), b=-c, c=b)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        a, b, c = path.coefficients(t)
        total = b**2 + c**2
        time = self.time_scale * t / path.t_max - self.time_shift
        return Scalings(skip=b / total, source=-a * b / total, out=-c / total, in_=torch.ones_like(t), time=time)


@settings
class VelocityPrediction(Prediction):
    """The network outputs the drift of the ODE, a. x_T + b. x_0 + c. eps (flow matching, arXiv:2209.03003)."""

    name: ClassVar[str] = "velocity"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        return path.derivatives(t)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        (a, b, c), (da, db, dc) = path.coefficients(t), path.derivatives(t)
        if path.noise_free:
            # x_T = (x_t - b x_0) / a in the drift, written without the quotient so that a may be 0.
            whole = a * db - b * da
            skip, source, out = -da / whole, torch.zeros_like(t), a / whole
        else:
            whole = c * db - b * dc
            skip, source, out = -dc / whole, (a * dc - c * da) / whole, c / whole
        return Scalings(
            skip=skip, source=source, out=out, in_=torch.ones_like(t), time=self.time_scale * t / path.t_max
        )


@settings
class DriftPrediction(Prediction):
    """The network outputs the drift of the reverse SDE, r = a. x_T + b. x_0 + (c a./a) eps (DSBM).

    Given the state, it does not depend on x_T. On the bridges of a diffusion process c a./a is 2 c. - c b./b; for
    Brownian motion it is (x_t - x_0) / t (arXiv:2303.16852). Without noise it is the velocity. Its error has the weight
    c^2 / b, which is the variance of the reference process since the target: that of the drift grows without bound
    there.
    """

    name: ClassVar[str] = "drift"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        c, (da, db, _) = path.coefficients(t).c, path.derivatives(t)
        return Coefficients(a=da, b=db, c=torch.zeros_like(t) if path.noise_free else c * self._per_state(path, t))

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        if path.noise_free:
            return VelocityPrediction(time_scale=self.time_scale).scalings(path, t)
        b, db, per_state = path.coefficients(t).b, path.derivatives(t).b, self._per_state(path, t)
        out = 1 / (db - per_state * b)
        zero, time = torch.zeros_like(t), self.time_scale * t / path.t_max
        return Scalings(skip=-per_state * out, source=zero, out=out, in_=zero + 1, time=time)

    def weight(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        weight = super().weight(path, t)
        _, b, c = path.coefficients(t)
        return weight if path.noise_free else weight * c**2 / b

    @staticmethod
    def _per_state(path: ProbabilityPath, t: Tensor) -> Tensor:
        """Return the factor of x_t in the drift, where x_0 has the other: a./a, so that x_T has none."""
        (a, b, c), (da, db, dc) = path.coefficients(t), path.derivatives(t)
        return (2 * dc - c * db / b) / c if path.source_free else da / a


@settings
class ResidualPrediction(Prediction):
    """The network outputs x_t - x_0 (BBDM's "grad" objective, arXiv:2205.07680)."""

    name: ClassVar[str] = "residual"

    time_scale: Annotated[float, Field(gt=0)] = 1000.0

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        a, b, c = path.coefficients(t)
        return Coefficients(a=a, b=b - 1, c=c)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        one = torch.ones_like(t)
        return Scalings(skip=one, source=torch.zeros_like(t), out=-one, in_=one, time=self.time_scale * t / path.t_max)


@settings
class DiffusionPrediction(Betas, Prediction):
    """The network is that of a diffusion model, and is called as it was trained, on any path with noise.

    Without its source, the state of a path is one of the diffusion process at another time and scale:

        y = (x_t - a x_T) / sqrt(b^2 + c^2) = b' x_0 + c' eps,    b' / c' = b / c          (2)

    with b' and c' of the schedule at the time where it has this ratio. So a network that ignores x_T gives the estimate
    that it gave as a diffusion model at y: exactly where the schedule has the ratio. Noisier states are taken for those
    of the schedule's last step, and the time input of less noisy ones is that of its first step.

    output: what the network outputs: eps, v = b' eps - c' x_0, or x_0.
    """

    name: ClassVar[str] = "diffusion"
    needs_noise: ClassVar[bool] = True

    output: Literal["noise", "v", "x0"] = "noise"

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients | None:
        skip, source, out, _, _ = self.scalings(path, t)
        a, b, c = path.coefficients(t)
        return Coefficients(a=-(skip * a + source) / out, b=(1 - skip * b) / out, c=-skip * c / out)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        if path.noise_free:
            raise UsageError(
                f"prediction 'diffusion' needs a path with noise, which '{path.name}' has not",
                hint="choose --path vp-bridge or brownian, or another --prediction",
            )
        a, b, c = path.coefficients(t)
        process = DDPM(schedule=self.schedule, first=self.first, last=self.last, intervals=self.intervals)
        then = process.time_at(path.log_snr(t).clamp(-100, 100))
        _, level, noise = process.coefficients(then)
        norm = _norm(b, c)
        zero = torch.zeros_like(t)
        skip, out = {
            "noise": (1 / level, -noise / level),
            "v": (level, -noise),
            "x0": (zero, zero + 1),
        }[self.output]
        time = (self.intervals * then - 1).clamp(min=0)
        return Scalings(skip=skip * norm, source=-a * skip * norm, out=out, in_=norm, time=time)

    def shift(self, path: ProbabilityPath, t: Tensor) -> Tensor:
        a, b, c = path.coefficients(t)
        return -a * _norm(b, c)


def _norm(b: Tensor, c: Tensor) -> Tensor:
    """Return 1 / sqrt(b^2 + c^2), finite at the source, where b = c = 0."""
    return (b**2 + c**2).clamp(min=1e-12).rsqrt()


@settings
class I2SBPrediction(Prediction):
    """The network outputs (x_t - x_0) / s_f, s_f the noise accumulated since the target (arXiv:2302.05872, eq. 12).

    t_first: the first of the released models' times; they rise to 1 in as many float32 values as the path has rows.
    """

    name: ClassVar[str] = "i2sb"

    t_first: Annotated[float, Field(gt=0, lt=1)] = 1e-4

    def meaning(self, path: ProbabilityPath, t: Tensor) -> Coefficients:
        a, b, c = path.coefficients(t)
        noise = self._path(path).source_noise(t)
        return Coefficients(a=a / noise, b=(b - 1) / noise, c=c / noise)

    def scalings(self, path: ProbabilityPath, t: Tensor) -> Scalings:
        path = self._path(path)
        one = torch.ones_like(t)
        # float32, as the released networks' inputs are.
        times = torch.linspace(self.t_first, 1.0, path.intervals, dtype=torch.float32, device=t.device)
        time = (times * path.intervals)[path.rows(t)].double()
        return Scalings(skip=one, source=torch.zeros_like(t), out=-path.source_noise(t), in_=one, time=time)

    def _path(self, path: ProbabilityPath) -> I2SBBridge:
        if not isinstance(path, I2SBBridge):
            raise UsageError(f"prediction 'i2sb' does not fit path '{path.name}'", hint="use it with path 'i2sb'")
        return path
