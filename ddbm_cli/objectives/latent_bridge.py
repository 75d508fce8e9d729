"""Latent bridge matching (LBM, arXiv:2503.07535): the error of the drift, and a perceptual distance of decoded images.

    loss = | (x_t - x0) / a - (x_T - x_0) |^2 + w perceptual(decode(x0), decode(x_0)),    x0 = D(x_t, t, x_T)       (1)

with the estimate D and the target x_0. The distance is of a part of each image, at a random place, with values limited
to -1..1. The released code compares with the image itself and by LPIPS of VGG; here it is what the decoder makes of its
latents, so that the decoder's own error has no part, and the perceptual distance of autoencoders.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.perceptual import load_perceptual_distance
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
        self._own, self._codec = objective, context.codec
        self._distance = (
            load_perceptual_distance(context.device, objective=objective.name) if objective.perceptual else None
        )

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
        if self._distance is None:
            return loss
        made, wanted = self._parts(estimate, x0)
        # Values inside a decoder are too large for float16.
        with torch.autocast(x0.device.type, enabled=False):
            image = self._codec.decode_image(made.float()).clamp(-1, 1)
            with torch.no_grad():
                target = self._codec.decode_image(wanted.float()).clamp(-1, 1)
            loss = loss + self._own.perceptual * self._distance(image, target)
        return loss

    def _parts(self, *states: Tensor) -> list[Tensor]:
        """Return the same part of all states; the step's seed decides where."""
        height, width = (min(side, self._own.crop // self._codec.factor) for side in states[0].shape[-2:])
        top, left = (
            int(torch.randint(have - want + 1, ()))
            for have, want in zip(states[0].shape[-2:], (height, width), strict=True)
        )
        return [each[..., top : top + height, left : left + width] for each in states]
