"""Similarities of two images and their captions by CLIP, as InstructPix2Pix filters its data (arXiv:2211.09800).

With unit embeddings I of the images before and after an edit, and T of their captions:

    image I_0 . I_1,   before I_0 . T_0,   after I_1 . T_1,   direction cos(I_1 - I_0, T_1 - T_0)               (1)

The direction is that of StyleGAN-NADA (arXiv:2108.00946).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.metrics.clip import encoders

DIGITS = 6
"""Of a similarity, as it is stored."""


class Similarities(NamedTuple):
    """The numbers of (1), each in -1..1."""

    image: float
    before: float
    after: float
    direction: float


class PairSimilarity:
    """CLIP's encoders of images and of texts, on a device.

    Args:
        name: of CLIP on the hub, whose files are downloaded, or its folder.

    Raises:
        MissingExtraError, MissingWeightsError, ModelError: as of `clip.ImageEncoder`.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self._images, self._texts = encoders(device, name)

    def __call__(self, images: Tensor, texts: Sequence[str]) -> Similarities:
        """Return (1).

        Args:
            images: before and after, uint8 (2, 3, H, W). texts: the caption of each.
        """
        seen, said = self._images(images).double(), self._texts(texts).double()
        pairs = ((seen[0], seen[1]), (seen[0], said[0]), (seen[1], said[1]), (seen[1] - seen[0], said[1] - said[0]))
        return Similarities(*(round(float(F.cosine_similarity(one, other, dim=0)), DIGITS) for one, other in pairs))
