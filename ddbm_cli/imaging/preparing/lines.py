"""Lines: how dark they are, without the grain of the paper, and strengthened where they are faint or thin."""

import numpy as np
from PIL import Image

from ddbm_cli.imaging.preparing.arrays import Floats, highest, lowest, opening, resized, spread

LEAST = 0.06
"""Darkness below which nothing is drawn, where the paper has no grain."""

ON_WHITE = 0.15
"""Darkness above which something is drawn, where the paper is white."""

COLOURED = 0.12
"""Saturation from which a drawing counts as coloured; paper and ink have less."""

PENCIL = 0.78
"""Darkness of coloured lines, as a fraction of that of ink."""

PEN_GREEN, PEN_BLUE = 0.72, 0.25
"""Green and blue light that the ink of a ballpoint pen absorbs, at least, as fractions of the red light."""

PEN_ALIKE = 0.9
"""Fraction of the colour of what is drawn that lies between red and blue, if all of it is of one pen."""

WIDE, SHADE = 0.008, 0.26
"""Half the width of a line, as a fraction of the image's longer side, at most; darkness of a wide area, if drawn."""

SAMPLED = 100
"""Rows and columns that are looked at for the paper."""

MOST = 30.0
"""Largest factor by which lines are strengthened."""


def darkness(values: Floats) -> Floats:
    """Return how dark (H, W, 3) is in its darkest channel, (H, W), 0 for white."""
    dark: Floats = 1 - lowest(values)
    return dark


def grain(dark: Floats) -> float:
    """Return the standard deviation of the paper's darkness, from the half of the pixels that are next to its level."""
    return _paper(dark)[1]


def floor(dark: Floats, *, white: bool = False) -> float:
    """Return the darkness up to which pixels are paper.

    white: it is known to be white, although what is drawn may cover most of it.
    """
    level, deviation = _paper(dark)
    return min(max(LEAST, level + 4 * deviation), ON_WHITE if white else 1.0)


def _paper(dark: Floats) -> tuple[float, float]:
    """Return the darkness of paper and its standard deviation, from a sample of the pixels."""
    sample = dark[:: max(1, dark.shape[0] // SAMPLED), :: max(1, dark.shape[1] // SAMPLED)]
    level = np.median(sample)
    return float(level), float(1.4826 * np.median(np.abs(sample - level)))


def without_grain(values: Floats, threshold: float, *, soft: float = 1.0) -> Floats:
    """Return (H, W, 3) with white paper: what is less dark than the threshold becomes white, without a step.

    soft: darkness over which that happens, around the threshold, as a multiple of it.
    """
    dark = darkness(values)
    kept = dark * np.clip((dark - threshold) / max(soft * threshold, 1e-6) + 0.5, 0, 1)
    white: Floats = 1 - (1 - values) * (kept / np.maximum(dark, 1e-6))[..., None]
    return white


def without_shade(values: Floats) -> Floats:
    """Return (H, W, 3) without what is wide and not dark, such as a fold of the paper; filled areas are dark."""
    dark = darkness(values)
    shade = opening(dark, max(2, round(WIDE * max(dark.shape))))
    shade = shade * np.clip((SHADE - shade) / (SHADE / 3), 0, 1)
    lit: Floats = 1 - (1 - values) * ((dark - shade) / np.maximum(dark, 1e-6))[..., None]
    return lit


def strength(values: Floats, size: int) -> float:
    """Return the mean darkness at the model's size of what is drawn, weighted by itself; 0 for an empty image.

    A black line of width w has `of_width(w)`, whatever its length.
    """
    return _mean(darkness(_fitted(values, size)))


def _mean(dark: Floats) -> float:
    """Return the mean darkness (H, W) of what is drawn, weighted by itself."""
    dark = dark[dark > LEAST / 2]
    return float((dark**2).sum() / dark.sum()) if dark.size else 0.0


def of_width(width: float) -> float:
    """Return the strength of a black line of a width, in pixels of the model, averaged over its positions."""
    return 0.98 * (width * (1 - width / 3) if width <= 1 else 1 - 1 / (3 * width))


def width_of(strength: float) -> float:
    """Return the width of a black line of a strength; the inverse of `of_width`."""
    share = min(strength / 0.98, 0.99)
    return 1.5 * (1 - np.sqrt(1 - 4 * share / 3)) if share <= 2 / 3 else 1 / (3 * (1 - share))


def saturation(values: Floats) -> float:
    """Return the mean saturation of what is drawn, weighted by its darkness, 0..1."""
    low = lowest(values)
    dark = 1 - low
    spread_of_channels = highest(values) - low
    weight = float((dark**2).sum())
    return float((spread_of_channels * dark).sum() / weight) if weight else 0.0


def is_blue_ink(values: Floats) -> bool:
    """Return whether what is drawn (H, W, 3) is all of the dark blue of a ballpoint pen; a blue pencil is purer."""
    ink = 1 - values
    weight = darkness(values) ** 2
    total = float(weight.sum())
    if not total:
        return False
    red, green, blue = ((ink * weight[..., None]).sum(axis=(0, 1)) / total).tolist()
    excess = ((ink[..., 0] - ink[..., 2]) * weight).sum() / max(float((np.ptp(ink, axis=2) * weight).sum()), 1e-6)
    return bool(green > PEN_GREEN * red and red > green > blue > PEN_BLUE * red and excess > PEN_ALIKE)


def strengthened(values: Floats, size: int, target: float, first: float) -> tuple[Floats, float]:
    """Return (H, W, 3), whose strength is `first`, with lines as strong as the target, and the factor.

    Darkness is multiplied, which keeps hues; where lines are black already and still too thin, they are widened.
    """
    if not first or first >= target:
        return values, 1.0
    for widened in range(8):
        gain, dark = 1.0, darkness(values)
        for _ in range(6):
            reached = _mean(_fitted(np.minimum(gain * dark, 1), size))
            if reached >= 0.97 * target or gain >= MOST:
                break
            gain = min(MOST, gain * max(1.05, target / max(reached, 1e-6)))
        if reached >= 0.9 * target or widened == 7:
            break
        values = spread(values, 1, np.minimum)
    return _multiplied(values, gain), target / first


def _multiplied(values: Floats, gain: float) -> Floats:
    """Return (H, W, 3) with its darkness multiplied; no channel exceeds black."""
    dark = np.maximum(darkness(values), 1e-6)
    return 1 - (1 - values) * np.minimum(gain, 1 / dark)[..., None]


def grey(values: Floats) -> Floats:
    """Return (H, W, 3) without colour."""
    return np.repeat(1 - darkness(values)[..., None], 3, axis=2)


def _fitted(values: Floats, size: int) -> Floats:
    scale = size / max(values.shape[:2])
    shape = (max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale)))
    return values if shape == values.shape[1::-1] else resized(values, shape, Image.Resampling.BOX)
