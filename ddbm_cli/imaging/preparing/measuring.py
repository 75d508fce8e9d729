"""What a model will expect of its input, measured on the sources that it is trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ddbm_cli.imaging.preparing import lines
from ddbm_cli.imaging.preparing.arrays import Floats
from ddbm_cli.imaging.preparing.drawing import is_photograph, is_white
from ddbm_cli.imaging.preparing.expects import Expects
from ddbm_cli.imaging.preparing.objects import objects, regions, whole

MOST_ARE = 0.9
"""Fraction of the sources that are line art, from which the model expects line art."""

CROWD = 0.9
"""Fraction of the sources that have at most as many objects as the model expects."""


class Drawn(NamedTuple):
    """What is drawn in one image: the width of its lines in pixels, its margin as a fraction, and its objects."""

    line_width: float
    margin: float
    objects: int


def drawn(values: Floats) -> Drawn | None:
    """Return what is drawn in an image (H, W, 3), 0..1, of the model's size; None if it is not line art."""
    if not is_white(values):
        return None
    dark = lines.darkness(values)
    threshold = lines.floor(dark, white=True)
    found, _ = regions(dark, threshold)
    side = max(dark.shape)
    if not found or is_photograph(dark, threshold, found, side):
        return None
    around = whole(found)
    inked = values[around.top : around.bottom, around.left : around.right]
    strength = lines.strength(inked, max(inked.shape[:2]))
    strength /= lines.PENCIL if lines.saturation(inked) > lines.COLOURED else 1
    margin = (1 - around.extent / side) / 2
    return Drawn(float(lines.width_of(strength)), margin, len(objects(found)))


def measure(images: Sequence[Floats]) -> Expects:
    """Return what a model expects that is trained on these sources, (H, W, 3), 0..1, each of the model's size."""
    found = [each for each in map(drawn, images) if each]
    if not images or len(found) < MOST_ARE * len(images):
        return Expects(kind="photograph")
    return Expects(
        kind="line-art",
        line_width=round(float(np.median([each.line_width for each in found])), 2),
        margin=min(0.4, round(float(np.median([each.margin for each in found])), 3)),
        objects=max(1, min(64, int(np.quantile([each.objects for each in found], CROWD)))),
    )
