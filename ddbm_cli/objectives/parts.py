"""Random parts of images, for losses that need not see whole ones."""

from collections.abc import Sequence
from types import EllipsisType

import torch

Part = tuple[EllipsisType, slice, slice]


def random_part(size: Sequence[int], side: int, *, multiple: int = 1) -> Part:
    """Return the index of a random part of images (..., H, W); the step's seed decides where it is.

    Args:
        size: H, W. side: of the part, at most, 0 for all. multiple: what the sides of the part are multiples of.
    """
    height, width = (min(whole, side or whole) // multiple * multiple for whole in size)
    top, left = (int(torch.randint(have - want + 1, ())) for have, want in zip(size, (height, width), strict=True))
    return ..., slice(top, top + height), slice(left, left + width)
