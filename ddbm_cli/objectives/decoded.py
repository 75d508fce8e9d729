"""The perceptual distance of what a codec decodes of estimates and targets, as latent bridge matching has it.

It is of a part of each image, at a random place, with values limited to -1..1. The released code of arXiv:2503.07535
compares with the image itself and by LPIPS of VGG; here it is what the decoder makes of its latents, so that the
decoder's own error has no part, and the perceptual distance of autoencoders.
"""

import torch
from torch import Tensor

from ddbm_cli.networks.perceptual import load_perceptual_distance
from ddbm_cli.objectives.objective import Context


class DecodedDistance:
    """Distance of states (B, C, h, w) as decoded images: (B,), with derivatives of the first.

    Args:
        crop: side of the part of each image that is decoded, in pixels.
        objective: the name of the objective, for errors.
    """

    def __init__(self, context: Context, *, crop: int, objective: str) -> None:
        self._codec, self._crop = context.codec, crop
        self._distance = load_perceptual_distance(context.device, objective=objective)

    def __call__(self, estimate: Tensor, target: Tensor) -> Tensor:
        made, wanted = self._parts(estimate, target)
        # Values inside a decoder are too large for float16.
        with torch.autocast(target.device.type, enabled=False):
            image = self._codec.decode_image(made.float()).clamp(-1, 1)
            with torch.no_grad():
                true = self._codec.decode_image(wanted.float()).clamp(-1, 1)
            distance: Tensor = self._distance(image, true)
        return distance

    def _parts(self, *states: Tensor) -> list[Tensor]:
        """Return the same part of all states; the step's seed decides where."""
        height, width = (min(side, self._crop // self._codec.factor) for side in states[0].shape[-2:])
        top, left = (
            int(torch.randint(have - want + 1, ()))
            for have, want in zip(states[0].shape[-2:], (height, width), strict=True)
        )
        return [each[..., top : top + height, left : left + width] for each in states]
