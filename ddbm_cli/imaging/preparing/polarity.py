"""White lines on black: chalk on a board, or an inverted scan."""

import numpy as np

from ddbm_cli.imaging.preparing.arrays import Floats, closing, highest, lowest, opening

DARK = 0.4
"""Brightness below which a ground counts as dark."""

NARROW = 0.012
"""Half the width of the widest line, as a fraction of the image's longer side."""

STEP = 0.08
"""Difference in brightness between a line and its ground, at least; the grain of paper is less."""

LEAST = 0.0025
"""Mean of what lines add to the brightness of the image, at least."""


def is_inverted(values: Floats) -> bool:
    """Return whether (H, W, 3) shows light lines on a dark ground.

    What is narrow and lighter than its surroundings is compared with what is narrow and darker. A gap between lines is
    neither: the lines around it are removed first.
    """
    light = (values[..., 0] + values[..., 1] + values[..., 2]) / 3
    if (light > DARK).mean() > 0.5:
        return False
    reach = max(2, round(NARROW * max(light.shape)))
    lighter = float(np.maximum(light - opening(closing(light, reach), reach) - STEP, 0).mean())
    darker = float(np.maximum(closing(opening(light, reach), reach) - light - STEP, 0).mean())
    return lighter > max(LEAST, 1.5 * darker)


def inverted(values: Floats) -> Floats:
    """Return (H, W, 3) with light and dark exchanged, and every hue kept."""
    return values + (1 - highest(values) - lowest(values))[..., None]
