"""Transparency of results: the silhouette of what is drawn on a transparent or empty background."""

import numpy as np
from PIL import Image

EMPTY = 16
"""Alpha, 0..255, up to which a place of an input counts as transparent."""

PAPER = 12
"""Difference from the paper's grey level, in each channel, up to which a place of a result counts as background."""


def on_paper(image: Image.Image, paper: int = 255) -> Image.Image:
    """Return an image (RGB or RGBA) as RGB, on a grey level of 0..255."""
    flat = Image.new("RGB", image.size, (paper,) * 3)
    flat.paste(image.convert("RGB"), mask=image if image.mode == "RGBA" else None)
    return flat


def silhouette(alpha: Image.Image) -> Image.Image:
    """Return an input's alpha channel (L) with what its lines enclose made opaque, and lines within it too.

    A drawing of lines is transparent inside; its result is not. The soft edge around it is kept: what is reached from
    outside, or from the image's edge, without a decrease.
    """
    values = np.asarray(alpha)
    reached = outside(values <= EMPTY)
    reached[[0, -1]] = reached[:, [0, -1]] = True
    edge = _spread(reached, np.ones_like(reached), values)
    return Image.fromarray(np.where(edge, values, 255).astype(np.uint8))


def cut_out(image: Image.Image, paper: int) -> Image.Image:
    """Return the alpha (L) of a result (RGB): 0 where background is connected to the edge of the image.

    Args:
        paper: grey level of the background, 0..255.
    """
    distance = np.abs(np.asarray(image).astype(np.int16) - paper).max(axis=2)
    return Image.fromarray(np.where(outside(distance <= PAPER), 0, 255).astype(np.uint8))


def outside(free: np.ndarray) -> np.ndarray:
    """Return which places (H, W) are reached from the edge of the image through places that are free, bool (H, W)."""
    reached = np.zeros_like(free)
    reached[0], reached[-1] = free[0], free[-1]
    reached[:, 0], reached[:, -1] = free[:, 0], free[:, -1]
    return _spread(reached, free, np.zeros_like(free))


def _spread(reached: np.ndarray, free: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Extend `reached` (H, W), in place, to neighbours that are free and no lower, and return it."""
    count = -1
    while count != (count := int(reached.sum())):
        for state, open_, height in ((reached, free, level), (reached.T, free.T, level.T)):
            rows = range(1, len(state))
            for row in rows:
                state[row] |= state[row - 1] & open_[row] & (height[row] >= height[row - 1])
            for row in reversed(rows):
                state[row - 1] |= state[row] & open_[row - 1] & (height[row - 1] >= height[row])
    return reached
