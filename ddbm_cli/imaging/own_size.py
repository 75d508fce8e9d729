"""Images in their own size, for networks that take any size that is a multiple of a number."""

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.imaging.preprocess import AnySize, Placement, Size


@settings
class OwnSize(AnySize):
    """Put an image into the upper left corner of one of `size`, and repeat its last column and row over the rest.

    `inverse` cuts the rest off again, so nothing is resized or moved.
    """

    def forward(self, image: Image.Image, *, like: Size | None = None) -> tuple[Tensor, Placement]:
        tensor, placement = super().forward(image, like=like)
        more = (0, self.width - image.width, 0, self.height - image.height)
        return F.pad(tensor[None], more, mode="replicate")[0], placement
