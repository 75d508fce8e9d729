"""The perceptual distance of what a codec decodes of estimates and targets, as latent bridge matching has it.

It is of a part of each image, at a random place, with values limited to -1..1. The released code of arXiv:2503.07535
compares with the image itself and by LPIPS of VGG; here it is what the decoder makes of its latents, so that the
decoder's own error has no part, and the perceptual distance of autoencoders.
"""

import torch
from torch import Tensor

from ddbm_cli.networks.perceptual import load_perceptual_distance
from ddbm_cli.objectives.objective import Context
from ddbm_cli.objectives.parts import random_part


class DecodedDistance:
    """Weighted distance of states (B, C, h, w) as decoded images: (B,), with derivatives of the first; 0 at weight 0.

    Args:
        weight: factor of the distance, 0 for none. crop: side of the part of each image that is decoded, in pixels.
        objective: the name of the objective, for errors.
    """

    def __init__(self, context: Context, *, weight: float, crop: int, objective: str) -> None:
        self._codec, self._weight, self._crop = context.codec, weight, crop
        if weight:
            self._distance = load_perceptual_distance(context.device, objective=objective)

    def __call__(self, estimate: Tensor, target: Tensor) -> Tensor | float:
        if not self._weight:
            return 0.0
        part = random_part(target.shape[-2:], self._crop // self._codec.factor)
        # Values inside a decoder are too large for float16.
        with torch.autocast(target.device.type, enabled=False):
            image = self._codec.decode_image(estimate[part].float()).clamp(-1, 1)
            with torch.no_grad():
                true = self._codec.decode_image(target[part].float()).clamp(-1, 1)
            distance: Tensor = self._distance(image, true)
        return self._weight * distance
