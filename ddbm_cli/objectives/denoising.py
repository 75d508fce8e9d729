"""The denoising loss: the squared error of the estimated target, weighted so that all times count alike.

    loss = | D(x_t, t, x_T) - x_0 |^2 / out(t)^2,    x_t = a x_T + b x_0 + c eps     (DDBM arXiv:2309.16948, eq. 10)

1 / out^2 undoes the scale that the prediction gives to the network's output, so the network's own error is measured.
"""

from typing import ClassVar

from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.objectives.objective import Context, Loss, Objective


def denoising_loss(
    denoiser: Denoiser, x0: Tensor, source: Tensor, t: Tensor, eps: Tensor, conditions: Conditions = NO_CONDITIONS
) -> Tensor:
    """Return the weighted squared error of each image, (B,).

    Args:
        x0, source, eps: target, source and standard noise, (B, C, H, W).
        t: times (B,), float64.
        conditions: label and source condition of each image.
    """
    x_t = denoiser.path.training_state(x0, source, eps, t)
    weight = error_weight(denoiser, t)
    error: Tensor = (denoiser(x_t, t, source, conditions) - x0).square().flatten(1).mean(1)
    return weight.to(error) * error


def error_weight(denoiser: Denoiser, t: Tensor) -> Tensor:
    """Return the weight (B,), float64, of the squared error of x_0 at times t (B,); see `Prediction.weight`."""
    return denoiser.prediction.weight(denoiser.path, t.double())


@settings
class Denoising(Objective):
    """The denoising loss, for bridges, priors and rectified flows."""

    name: ClassVar[str] = "denoising"

    def create(self, context: Context) -> Loss:
        return _DenoisingLoss()


class _DenoisingLoss(Loss):
    divisible: ClassVar[bool] = True

    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        source: Tensor,
        t: Tensor,
        eps: Tensor,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        return denoising_loss(denoiser, x0, source, t, eps, conditions)
