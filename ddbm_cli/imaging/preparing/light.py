"""Uneven light: the brightness of the paper at every place, and an image divided by it."""

import numpy as np
from PIL import Image

from ddbm_cli.imaging.preparing.arrays import Floats, blur, closing, resized

COARSE = 4
"""The paper's brightness is computed at this fraction of the size."""

WIDEST = 0.07
"""Half the width of what counts as drawn and not as paper, as a fraction of the longer side."""

TINT = 0.12
"""Deviation of the hue of paper, of the logarithm of red to blue, at most."""

FALL = 6.0
"""Ratio of the light on paper, of its brightest to its darkest tenth, at most."""


def coarse(values: Floats) -> Floats:
    """Return (H, W, 3) at the fraction of its size at which the paper is looked at."""
    size = (max(1, values.shape[1] // COARSE), max(1, values.shape[0] // COARSE))
    return resized(values, size, Image.Resampling.BOX)


def paper_of(small: Floats) -> Floats:
    """Return the brightness of the paper (h, w, 3) of an image that `coarse` made small.

    What is darker than its surroundings and narrow is drawn; the rest is paper, however the light changes on it.
    """
    reach = max(2, round(WIDEST * max(small.shape[:2])))
    return np.maximum(blur(closing(blur(small, 1), reach), 1), 1 / 255)


def ground_of(small: Floats) -> Floats:
    """Return the image without its lines (h, w, 3), for finding the page: as `paper_of`, but with edges kept sharp."""
    return closing(small, 3)


def is_paper(paper: Floats) -> bool:
    """Return whether a brightness (h, w, 3) can be that of a sheet in some light: of one hue, and nowhere black."""
    logs = np.log(np.maximum(paper, 1 / 255)).reshape(-1, 3)
    tint = logs[:, 0] - logs[:, 2]
    low, high = np.percentile(logs[:, 1], (10, 90))
    return bool(np.median(np.abs(tint - np.median(tint))) < TINT and high - low < np.log(FALL))


def even(values: Floats, paper: Floats) -> Floats:
    """Return (H, W, 3) divided by the paper's brightness at any size: paper becomes white, whatever its colour."""
    ratio: Floats = values / resized(paper, (values.shape[1], values.shape[0]))
    return ratio.clip(0, 1)
