"""Arithmetic on images as arrays: float32, 0 is black and 1 is white.

OpenCV does the operations on whole numbers and the choice of greatest and least, which it does many times as fast;
their results are exact, so an image is prepared to the same bytes with and without it.
"""

import importlib
import threading
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.signedinteger[Any]]
Mask = NDArray[np.bool_]

_IMPORTING = threading.Lock()


@cache
def opencv() -> Any:
    """Return OpenCV, None where it is not installed."""
    with _IMPORTING:  # several threads ask at once, and half imported it is of no use
        try:
            return importlib.import_module("cv2")
        except ImportError:
            return None


def pixels(image: Image.Image) -> Floats:
    """Return an RGB image as (H, W, 3), 0..1."""
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def picture(values: Floats) -> Image.Image:
    """Return (H, W, 3) in 0..1 as an RGB image; values outside are clipped."""
    return Image.fromarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8))


def lowest(values: Floats) -> Floats:
    """Return the least of the three channels of (H, W, 3)."""
    return np.minimum(np.minimum(values[..., 0], values[..., 1]), values[..., 2])


def highest(values: Floats) -> Floats:
    """Return the greatest of the three channels of (H, W, 3)."""
    return np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])


def resized(values: Floats, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BILINEAR) -> Floats:
    """Return (H, W) or (H, W, C) at another size (width, height)."""
    if values.ndim == 2:
        return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, how))
    return np.stack([resized(values[..., channel], size, how) for channel in range(values.shape[2])], axis=-1)


def closing(values: Floats, reach: int) -> Floats:
    """Return (H, W) or (H, W, C) without what is darker than its surroundings and narrower than 2 `reach` + 1."""
    return spread(spread(values, reach, np.maximum), reach, np.minimum)


def opening(values: Floats, reach: int) -> Floats:
    """Return (H, W) or (H, W, C) without what is lighter than its surroundings and narrower than 2 `reach` + 1."""
    return spread(spread(values, reach, np.minimum), reach, np.maximum)


def spread(values: Floats, reach: int, choose: np.ufunc) -> Floats:
    """Return the greatest (np.maximum) or least (np.minimum) within a square of 2 `reach` + 1 pixels."""
    if reach < 1:
        return values
    cv2 = opencv()
    if cv2 is not None:
        work = cv2.dilate if choose is np.maximum else cv2.erode
        kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        found = work(np.ascontiguousarray(values, np.float32), kernel, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(found, dtype=np.float32).reshape(values.shape)
    for axis in (0, 1):
        values = _along(values, reach, choose, axis)
    return values


def _along(values: Floats, reach: int, choose: np.ufunc, axis: int) -> Floats:
    """Return the greatest or least along one axis; windows are doubled until they are wide enough."""
    length, window = values.shape[axis], 2 * reach + 1
    padding = [(reach, reach) if each == axis else (0, 0) for each in range(values.ndim)]
    moved = np.moveaxis(np.pad(values, padding, mode="edge"), axis, 0)
    width = 1
    while 2 * width <= window:
        moved = choose(moved[:-width], moved[width:])
        width *= 2
    if window > width:
        moved = choose(moved[: len(moved) - (window - width)], moved[window - width :])
    return np.moveaxis(moved[:length], 0, axis)


def blur(values: Floats, reach: int) -> Floats:
    """Return (H, W) or (H, W, C), each pixel the mean of a square of 2 `reach` + 1, the border repeated beyond."""
    window = 2 * reach + 1
    for axis in (0, 1):
        padding = [(reach + 1, reach) if each == axis else (0, 0) for each in range(values.ndim)]
        total = np.cumsum(np.pad(values, padding, mode="edge"), axis=axis, dtype=np.float64)
        total = np.moveaxis(total, axis, 0)
        values = np.moveaxis((total[window:] - total[:-window]) / window, 0, axis).astype(np.float32)
    return values


def components(mask: Mask) -> tuple[Integers, int]:
    """Return the number (H, W) of each pixel's connected region, 1 and so on, 0 outside; and how many there are.

    Regions are numbered by their first pixel, row by row. Pixels that touch at a corner are connected.
    """
    cv2 = opencv()
    if cv2 is not None:
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        return _in_order(np.asarray(labels, dtype=np.int64)), count - 1
    return _components(mask)


def _in_order(labels: Integers) -> Integers:
    """Renumber regions by their first pixel."""
    inside = labels[labels > 0]
    present, first = np.unique(inside, return_index=True)
    order = present[np.argsort(first)]
    number = np.zeros(int(inside.max(initial=0)) + 1, dtype=np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return number[labels]


def _components(mask: Mask) -> tuple[Integers, int]:
    """Label runs of a row, and join those that touch a run of the row above."""
    height, width = mask.shape
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, begins = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    starts = np.searchsorted(rows, np.arange(height + 1)).tolist()
    first, last = begins.tolist(), ends.tolist()
    for row in range(1, height):
        above, below = starts[row - 1], starts[row]
        while above < starts[row] and below < starts[row + 1]:
            if first[above] <= last[below] and first[below] <= last[above]:
                one, other = root(above), root(below)
                parent[max(one, other)] = min(one, other)
            if last[above] < last[below]:
                above += 1
            else:
                below += 1
    roots = np.array([root(run) for run in range(len(parent))], dtype=np.int64)
    kept, number = np.unique(roots, return_inverse=True)
    labels = np.zeros((height, width + 1), dtype=np.int64)
    labels[rows, begins] += number + 1
    np.subtract.at(labels, (rows, ends), number + 1)
    return np.cumsum(labels, axis=1)[:, :width], len(kept)
