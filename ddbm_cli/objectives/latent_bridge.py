"""Latent bridge matching (LBM, arXiv:2503.07535): the error of the drift, and a perceptual distance of decoded images.

    loss = | (x_t - x0) / a - (x_T - x_0) |^2 + w perceptual(decode(x0), decode(x_0)),    x0 = D(x_t, t, x_T)       (1)

with the estimate D and the target x_0; `networks.perceptual` has the distance.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.perceptual import load_perceptual_distance
from ddbm_cli.objectives.decoded import DecodedParts
from ddbm_cli.objectives.objective import Context, Loss, Objective


@settings
class LatentBridgeMatching(Objective):
    """The error of the drift, with a perceptual distance of decoded images.

    perceptual: w of (1), 0 for none. crop: side of the part that is decoded, in pixels.
    """

    name: ClassVar[str] = "lbm"

    perceptual: Annotated[float, Field(ge=0)] = 10.0
    crop: Annotated[int, Field(ge=32, le=4096)] = 512

    def create(self, context: Context) -> Loss:
        return _LatentBridgeMatchingLoss(self, context)


class _LatentBridgeMatchingLoss(Loss):
    def __init__(self, objective: LatentBridgeMatching, context: Context) -> None:
        super().__init__()
        self._perceptual, self._parts = objective.perceptual, DecodedParts(context.codec, objective.crop)
        if self._perceptual:
            self._distance = load_perceptual_distance(context.device, objective=objective.name)

    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        source: Tensor,
        t: Tensor,
        eps: Tensor,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        x_t = denoiser.path.training_state(x0, source, eps, t)
        estimate = denoiser(x_t, t, source, conditions)
        a = denoiser.path.coefficients(t.double()).a.view(-1, 1, 1, 1).to(x0)
        loss: Tensor = ((x_t - estimate) / a - (source - x0)).square().flatten(1).mean(1)
        if self._perceptual:
            loss = loss + self._perceptual * self._distance(*self._parts(estimate, x0))
        return loss
