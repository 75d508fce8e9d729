"""Random parts of images, decoded of states, for losses that judge what images look like."""

import torch
from torch import Tensor

from ddbm_cli.codecs import Codec
from ddbm_cli.objectives.parts import random_part


class DecodedParts:
    """The same random part of the images of several states.

    The released code of arXiv:2503.07535 compares with the image itself; here it is what the decoder makes of its
    latents, so that the decoder's own error has no part.

    Args:
        side: of the part of each image that is decoded, in pixels.
    """

    def __init__(self, codec: Codec, side: int) -> None:
        self._codec, self._side = codec, side

    def __call__(self, estimate: Tensor, *others: Tensor) -> list[Tensor]:
        """Return images (B, 3, h, w), -1..1, of states (B, C, H, W); the first alone has derivatives."""
        part = random_part(estimate.shape[-2:], self._side // self._codec.factor)
        # Values inside a decoder are too large for float16.
        with torch.autocast(estimate.device.type, enabled=False):
            image = self._codec.decode_image(estimate[part].float()).clamp(-1, 1)
            with torch.no_grad():
                return [image, *(self._codec.decode_image(other[part].float()).clamp(-1, 1) for other in others)]
