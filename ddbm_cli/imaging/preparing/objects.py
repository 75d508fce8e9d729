"""What is drawn on a page: its regions, and which of them belong together."""

from typing import NamedTuple

import numpy as np

from ddbm_cli.imaging.preparing.arrays import Floats, Mask, components, spread

APART = 0.3
"""Objects are separate if the gap between them is larger than this fraction of the smaller one's longer side."""

SMALL = 0.3
"""Objects smaller than this fraction of the largest are a part of the nearest."""

SPECK = 0.03
"""Regions with less than this fraction of the largest one's darkness and extent are dirt."""

SHORTEST = 0.025
"""Extent of the longest line of a drawing, as a fraction of the image's longer side, at least."""


class Region(NamedTuple):
    """A region of a page: left, top, right, bottom in pixels, and the darkness that it adds up to."""

    left: int
    top: int
    right: int
    bottom: int
    weight: float

    @property
    def extent(self) -> int:
        """Longer side."""
        return max(self.right - self.left, self.bottom - self.top)

    def joined(self, other: "Region") -> "Region":
        """Return the region around both."""
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.weight + other.weight,
        )

    def gap(self, other: "Region") -> float:
        """Return the distance of two boxes, 0 if they touch."""
        across = max(self.left - other.right, other.left - self.right, 0)
        down = max(self.top - other.bottom, other.top - self.bottom, 0)
        return float(np.hypot(across, down))


def regions(dark: Floats, threshold: float, edge: int = 0) -> tuple[list[Region], list[Region]]:
    """Return the connected regions of a page's darkness (H, W), without dirt, the largest first; and the border's.

    Lines within two pixels of each other are connected. What lies along the border of the image and is no drawing,
    such as the edge of a table, is left out, and returned second.

    Args:
        edge: pixels from the border that count as the border.
    """
    mask: Mask = dark > threshold
    if not mask.any():
        return [], []
    height, width = mask.shape
    labels, count = components(spread(mask.astype(np.float32), 1, np.maximum) > 0)
    ys, xs = np.nonzero(mask)
    label = labels[ys, xs] - 1
    weight = np.bincount(label, weights=dark[ys, xs], minlength=count)
    peak = np.zeros(count)
    np.maximum.at(peak, label, dark[ys, xs])
    low_x, low_y = np.full(count, width), np.full(count, height)
    high_x, high_y = np.zeros(count, int), np.zeros(count, int)
    np.minimum.at(low_x, label, xs)
    np.minimum.at(low_y, label, ys)
    np.maximum.at(high_x, label, xs + 1)
    np.maximum.at(high_y, label, ys + 1)
    found = [
        Region(int(low_x[i]), int(low_y[i]), int(high_x[i]), int(high_y[i]), float(weight[i]))
        for i in range(count)
        if peak[i] > 1.4 * threshold
    ]
    inner = [region for region in found if not _along_border(region, width, height, edge)]
    border = [region for region in found if region not in inner] if inner else []
    found = sorted(inner or found, key=lambda region: -region.weight)
    if not found:
        return [], []
    most, widest = found[0].weight, max(region.extent for region in found)
    if widest < max(3, SHORTEST * max(width, height)):
        return [], []
    kept = [region for region in found if region.weight > SPECK * most or region.extent > 2 * SPECK * widest]
    return kept, border


def whole(found: list[Region]) -> Region:
    """Return the region around all."""
    around = found[0]
    for region in found[1:]:
        around = around.joined(region)
    return around


def objects(found: list[Region]) -> list[Region]:
    """Return the separate objects that regions form, in reading order."""
    groups = list(found[:400])
    merged = True
    while merged and len(groups) > 1:
        merged = False
        for one in groups:
            nearest = min((other for other in groups if other is not one), key=one.gap)
            if one.gap(nearest) <= APART * max(min(one.extent, nearest.extent), SMALL * _largest(groups)):
                groups = [each for each in groups if each is not one and each is not nearest] + [one.joined(nearest)]
                merged = True
                break
    groups = _without_small(groups)
    tall = max(group.bottom - group.top for group in groups)
    return sorted(groups, key=lambda group: (round((group.top + group.bottom) / 2 / (0.75 * tall)), group.left))


def _without_small(groups: list[Region]) -> list[Region]:
    """Join small objects to their nearest neighbour."""
    while len(groups) > 1:
        small = min(groups, key=lambda group: group.extent)
        if small.extent >= SMALL * _largest(groups):
            break
        rest = [group for group in groups if group is not small]
        nearest = min(rest, key=small.gap)
        groups = [group for group in rest if group is not nearest] + [nearest.joined(small)]
    return groups


def _largest(groups: list[Region]) -> int:
    return max(group.extent for group in groups)


def _along_border(region: Region, width: int, height: int, edge: int) -> bool:
    """Return whether a region touches the image's border and is long and narrow, or frames it."""
    across, down = region.right - region.left, region.bottom - region.top
    sides = (
        region.left <= edge,
        region.top <= edge,
        region.right >= width - edge,
        region.bottom >= height - edge,
    )
    if not any(sides):
        return False
    narrow = min(across, down) < 0.12 * max(width, height)
    return narrow or sum(sides) > 2
