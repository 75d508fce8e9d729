"""What is on a page and belongs to no drawing: ruled lines, a grid, punched holes, a line of words, fingers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ddbm_cli.imaging.preparing.arrays import Floats, Mask, components
from ddbm_cli.imaging.preparing.objects import Region, whole

RULES = 5
"""Parallel lines across a page that make it a ruled one, at least."""

ACROSS = 0.08
"""Distance of the ends of a ruled line from the sides of the page, as a fraction of its width, at most."""

SHORTEST = 1 / 8
"""Shortest straight part of a ruled line, as a fraction of the page's width."""

CLEARLY = 1.35
"""Darkness of a drawing on ruled paper, as a multiple of that of the rules, at least."""

FAINTER = 0.6
"""Darkness from which a pixel may be of a rule, as a fraction of what is drawn: a straight line stands out of noise."""

RING = 0.05
"""Width of the border in which there are rules only, as a fraction of the side."""

DENSE = (99, 97.5)
"""Percentile of the darkness of a border with rules, and with a grid, that is a rule's."""

UNEVEN = 0.27
"""Deviation of the distance of two rules from a multiple of the usual one, as a fraction of it, at most."""

MARGIN, STRAIGHT = 0.03, 8
"""Width of a margin line, as a fraction of the page's longer side, at most, and its length as a multiple of that."""

CRUMB, AWAY, AT_BORDER = 0.12, 0.05, 0.05
"""Extent of what is left out at the border, as a fraction of the drawing's; its least distance from the drawing and
its largest from the border, as fractions of the page's longer side."""

DOT = 0.025
"""Extent of a dot that is left out on ruled paper, as a fraction of the drawing's square."""

HOLES = 4
"""Holes in a row, at least."""

NEAR_SIDE = 0.1
"""Distance of holes from the side of a page, as a fraction of its longer side, at most."""

LARGEST_HOLE = 0.06
"""Diameter of a hole, as a fraction of the page's longer side, at most."""

LOW = 0.15
"""Height of a line of words, as a fraction of the drawing's longer side, at most."""

LONG = 3.0
"""Length of a line of words, as a multiple of its height, at least."""

STROKES = 0.8
"""Strokes that a row through the middle of words crosses, per height of the line, at least."""


def others(found: list[Region], dark: Floats, threshold: float, *, is_ruled: bool, on_paper: bool) -> list[Region]:
    """Return which regions of a page, the largest first, belong to no drawing; never all of them.

    Args:
        dark: the page (H, W), and the threshold above which something is drawn.
        is_ruled: whether it is ruled. on_paper: whether it is a photograph or a scan.
    """
    left_out = holes(found, dark.shape) + (margins(found, dark.shape) if is_ruled else [])
    rest = [region for region in found if region not in left_out]
    left_out += crumbs(rest, dark.shape, is_ruled=is_ruled) if rest and on_paper else []
    rest = [region for region in rest if region not in left_out]
    left_out += words(rest, dark, threshold)
    return left_out if len(left_out) < len(found) else []


def dots(mask: Mask) -> Mask:
    """Return what is tiny in what is drawn (H, W), such as the crossings of a grid."""
    labels, count = components(mask)
    ys, xs = np.nonzero(labels)
    label = labels[ys, xs]
    low_y, low_x = np.full(count + 1, mask.shape[0]), np.full(count + 1, mask.shape[1])
    high_y, high_x = np.zeros(count + 1, int), np.zeros(count + 1, int)
    for low, high, places in ((low_y, high_y, ys), (low_x, high_x, xs)):
        np.minimum.at(low, label, places)
        np.maximum.at(high, label, places)
    tiny = np.maximum(high_y - low_y, high_x - low_x) < DOT * max(mask.shape)
    tiny[0] = False
    found: Mask = tiny[labels]
    return found


def ruled(dark: Floats, threshold: float) -> int:
    """Return in how many directions lines at equal distances go across a page of this darkness (H, W): 0, 1 or 2."""
    mask = dark > FAINTER * threshold
    return int(_rules(mask)) + int(_rules(mask.T))


def _rules(mask: Mask) -> bool:
    """Return whether there are horizontal ones."""
    height, width = mask.shape
    reach = round(SHORTEST * width / 2)
    if reach < 4 or height < 16:
        return False
    thick = mask.copy()
    thick[1:] |= mask[:-1]
    thick[:-1] |= mask[1:]
    total = np.pad(np.cumsum(thick, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
    window = 2 * reach
    full = total[:, window:] - total[:, :-window] >= 0.95 * window  # a line without a gap from column to column
    ends = max(4, round(ACROSS * width))
    return _evenly(full[:, :ends].any(axis=1)) and _evenly(full[:, -ends:].any(axis=1))


def _evenly(rows: NDArray[np.bool_]) -> bool:
    """Return whether there are lines at equal distances, some of which may be missing."""
    begins = np.flatnonzero(np.diff(rows.astype(np.int8), prepend=0) == 1)
    if len(begins) < RULES:
        return False
    gaps = np.diff(begins)
    usual = np.percentile(gaps, 25)
    return bool((np.abs(gaps / usual - np.rint(gaps / usual)) < UNEVEN).mean() > 0.6)


def level(dark: Floats, directions: int) -> float:
    """Return the darkness above which nothing is a rule, from the border of a page or of a part of it (H, W)."""
    down, across = (max(2, round(RING * side)) for side in dark.shape)
    sides = (dark[:down], dark[-down:], dark[:, :across], dark[:, -across:])
    return CLEARLY * float(np.median([np.percentile(side, DENSE[directions - 1]) for side in sides]))


def margins(found: Sequence[Region], shape: tuple[int, ...]) -> list[Region]:
    """Return regions that are straight lines down or across a page, such as the margin of ruled paper."""
    return [
        region
        for region in found
        if min(region.right - region.left, region.bottom - region.top) < MARGIN * max(shape[:2])
        and region.extent > STRAIGHT * min(region.right - region.left, region.bottom - region.top)
    ]


def crumbs(found: Sequence[Region], shape: tuple[int, ...], *, is_ruled: bool) -> list[Region]:
    """Return small regions far from the drawing: at the border of a page, anywhere on a ruled one."""
    height, width = shape[:2]
    longer = max(height, width)
    drawing = max(found, key=lambda region: region.extent)
    return [
        region
        for region in found
        if region.extent < (2 if is_ruled else 1) * CRUMB * drawing.extent
        and region.gap(drawing) > AWAY * longer
        and (
            is_ruled or min(region.left, region.top, width - region.right, height - region.bottom) < AT_BORDER * longer
        )
    ]


def holes(found: Sequence[Region], shape: tuple[int, ...]) -> list[Region]:
    """Return regions that are holes along a side of the page (height, width)."""
    height, width = shape[:2]
    longer = max(height, width)
    small = [region for region in found if region.extent <= LARGEST_HOLE * longer]
    for along, distances in (
        (1, [(region.left + region.right) / 2 for region in small]),
        (1, [width - (region.left + region.right) / 2 for region in small]),
        (0, [(region.top + region.bottom) / 2 for region in small]),
        (0, [height - (region.top + region.bottom) / 2 for region in small]),
    ):
        near = [region for region, away in zip(small, distances, strict=True) if away < NEAR_SIDE * longer]
        row = _in_a_row(near, along)
        if len(row) >= HOLES:
            return row
    return []


def _in_a_row(near: list[Region], along: int) -> list[Region]:
    """Return those of about one size, if they are at about equal distances along an axis (1 is down)."""
    if len(near) < HOLES:
        return []
    size = float(np.median([region.extent for region in near]))
    row = [region for region in near if 0.6 * size <= region.extent <= 1.6 * size]
    places = sorted(region.top if along else region.left for region in row)
    gaps = np.diff(places)
    even = len(gaps) and np.median(np.abs(gaps - np.median(gaps))) < 0.2 * np.median(gaps)
    return row if even and np.median(gaps) > 1.2 * size else []


def words(found: Sequence[Region], dark: Floats, threshold: float) -> list[Region]:
    """Return regions that are lines of words next to the largest drawing: low, long, and of many strokes."""
    if not found:
        return []
    drawing = found[0]
    largest = max(found, key=lambda region: region.extent)
    drawing = largest if largest.extent > 1.5 * drawing.extent else drawing
    low = [
        region
        for region in found
        if region is not drawing
        and region.bottom - region.top <= LOW * drawing.extent
        and (region.top >= drawing.bottom or region.bottom <= drawing.top)
    ]
    lines: list[list[Region]] = []
    for region in sorted(low, key=lambda each: each.left):
        for line in lines:
            around = whole(line)
            tall = max(around.bottom - around.top, region.bottom - region.top)
            if (
                min(around.bottom, region.bottom) - max(around.top, region.top) > 0
                and region.left - around.right < 3 * tall
            ):
                line.append(region)
                break
        else:
            lines.append([region])
    lines = [line for line in lines if _are_words(whole(line), drawing, dark, threshold)]
    rest = [region for region in found if not any(region in line for line in lines)]
    return [region for line in lines if not _is_within(whole(line), whole(rest)) for region in line]


def _is_within(line: Region, drawing: Region) -> bool:
    """Return whether a line of words is in the box of a drawing, at least in part: it belongs to the drawing then."""
    return (
        drawing.top < line.bottom
        and line.top < drawing.bottom
        and drawing.left < line.left < line.right < drawing.right
    )


def _are_words(around: Region, drawing: Region, dark: Floats, threshold: float) -> bool:
    tall, long = around.bottom - around.top, around.right - around.left
    if tall > LOW * drawing.extent or long < LONG * tall:
        return False
    inside = dark[around.top : around.bottom, around.left : around.right] > threshold
    strokes = (np.diff(inside.astype(np.int8), axis=1) == 1).sum(axis=1)
    return bool(np.median(strokes) >= STROKES * long / max(tall, 1) and np.median(strokes) >= 4)


def veil(dropped: Sequence[Region], kept: Sequence[Region], shape: tuple[int, ...]) -> Mask | None:
    """Return where a page (H, W) is made white: the boxes of what is dropped, outside the boxes of what is kept."""
    if not dropped:
        return None
    mask = np.zeros(shape[:2], dtype=bool)
    for region in dropped:
        mask[max(0, region.top - 2) : region.bottom + 2, max(0, region.left - 2) : region.right + 2] = True
    for region in kept:
        mask[region.top : region.bottom, region.left : region.right] = False
    return mask
