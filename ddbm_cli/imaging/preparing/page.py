"""A sheet of paper in a photograph: its four sides, and the perspective under which it was seen."""

from typing import NamedTuple

import numpy as np

from ddbm_cli.imaging.preparing.arrays import Floats

STEP = 0.2
"""Smallest change across a side of the page: of the logarithm of the brightness, summed over the channels."""

SEARCHED = 0.4
"""Part of the image, from its border inwards, in which a side is searched."""

AGREEING = 0.4
"""Fraction of the rows in which the side must be seen where the line says."""

BUSIEST = 5
"""Steps in a row, at most, on the average; a texture has more."""

STEEPEST = 0.36
"""Slope of a side against the image's border, at most."""

SMALLEST = 0.2
"""Area of a page, as a fraction of the image's, at least."""


class Line(NamedTuple):
    """A side of the page: distance from the border = offset + slope * position along it."""

    offset: float
    slope: float


def find_page(ground: Floats) -> Floats | None:
    """Return the corners (4, 2) of a page, each (x, y) from 0 to 1: top left, top right, bottom right, bottom left.

    Args:
        ground: the image without its lines (H, W, 3). A side that is not seen is the image's border.

    Returns:
        None where no side of a page is seen.
    """
    height, width = ground.shape[:2]
    if min(height, width) < 16:
        return None
    logs = np.log(np.maximum(ground, 0.02))
    turned = logs.swapaxes(0, 1)
    left, right = side(logs), side(logs[:, ::-1])
    top, bottom = _between(turned, left, right, width)
    if not (left and right):
        left, right = _between(logs, top, bottom, height)
    if not any((left, right, top, bottom)):
        return None
    none = Line(0.0, 0.0)
    across = [_vertical(left or none), _vertical(_mirrored(right or none, width))]
    down = [_horizontal(top or none), _horizontal(_mirrored(bottom or none, height))]
    corners = [(across[0], down[0]), (across[1], down[0]), (across[1], down[1]), (across[0], down[1])]
    found = np.array([np.linalg.solve(np.array([a[:2], b[:2]]), [a[2], b[2]]) for a, b in corners])
    found /= (width, height)
    return found if area(found) >= SMALLEST and found.min() > -0.1 and found.max() < 1.1 else None


def _between(logs: Floats, near: Line | None, far: Line | None, length: int) -> tuple[Line | None, Line | None]:
    """Return the left and the right side of a page (H, W, 3), searched between its other two sides where both are seen.

    Args:
        near, far: the upper side, and the lower one as measured from the lower border. length: the height H.
    """
    first, last = 0, length
    if near and far:
        middle = logs.shape[1] / 2
        first = max(0, round(near.offset + near.slope * middle))
        last = min(length, round(length - far.offset - far.slope * middle))
        if last - first < length / 5:
            first, last = 0, length
    found = side(logs[first:last]), side(logs[first:last, ::-1])
    one, other = (line and Line(line.offset - line.slope * first, line.slope) for line in found)
    return one, other


def area(corners: Floats) -> float:
    """Return the area of a polygon with these corners (N, 2)."""
    following = np.roll(corners, -1, axis=0)
    return float(abs((corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum()) / 2)


def side(logs: Floats) -> Line | None:
    """Return the left side of a page in the logarithm of an image (H, W, 3); None if none is seen.

    In each row the outermost clear steps are candidates; the line that most rows agree on is the side.
    """
    height, width = logs.shape[:2]
    reach = max(4, round(SEARCHED * width))
    change = np.abs(logs[:, 2:reach] - logs[:, : reach - 2]).sum(axis=2)  # at column + 1
    peak = (change > STEP) & (change >= np.pad(change, ((0, 0), (1, 0)))[:, :-1])
    peak &= change >= np.pad(change, ((0, 0), (0, 1)))[:, 1:]
    rows, columns = np.nonzero(peak)
    if not AGREEING * height <= len(rows) <= BUSIEST * height:
        return None
    places = columns + 1.0
    chosen, most = None, AGREEING * height
    picks = np.linspace(0, len(rows) - 1, min(len(rows), 32)).astype(int)
    for one in picks:
        far = picks[rows[picks] > rows[one] + height / 4]  # a line through two of them is tried once
        slopes = (places[far] - places[one]) / (rows[far] - rows[one])
        far, slopes = far[np.abs(slopes) <= STEEPEST], slopes[np.abs(slopes) <= STEEPEST]
        if not len(far):
            continue
        offsets = places[one] - slopes * rows[one]
        near = np.abs(places[None] - offsets[:, None] - slopes[:, None] * rows[None]) <= 1
        # A step that is seen in all rows is preferred to one further in.
        score = near.sum(axis=1) - 0.1 * np.maximum(offsets + slopes * height / 2, 0)
        index = int(score.argmax())
        if score[index] > most:
            most = float(score[index])
            chosen = near[index]
    if chosen is None:
        return None
    slope, offset = np.polyfit(rows[chosen], places[chosen], 1)
    return Line(float(offset) + 0.5, float(slope))


def perspective(corners: Floats, width: float, height: float) -> Floats:
    """Return the matrix (3, 3) from a page of this size to the quadrilateral with these corners (4, 2)."""
    rows, values = [], []
    for (x, y), (to_x, to_y) in zip(((0, 0), (width, 0), (width, height), (0, height)), corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -to_x * x, -to_x * y], [0, 0, 0, x, y, 1, -to_y * x, -to_y * y]]
        values += [to_x, to_y]
    found: Floats = np.append(np.linalg.solve(np.array(rows, float), np.array(values, float)), 1).reshape(3, 3)
    return found


def size_of(corners: Floats) -> tuple[float, float]:
    """Return width and height of a page, the means of its opposite sides."""
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    return float((sides[0] + sides[2]) / 2), float((sides[1] + sides[3]) / 2)


def _vertical(line: Line) -> tuple[float, float, float]:
    """Return x = offset + slope y as a x + b y = c."""
    return 1.0, -line.slope, line.offset


def _horizontal(line: Line) -> tuple[float, float, float]:
    return -line.slope, 1.0, line.offset


def _mirrored(line: Line, length: int) -> Line:
    """Return a line that was measured from the opposite border."""
    return Line(length - line.offset, -line.slope)
