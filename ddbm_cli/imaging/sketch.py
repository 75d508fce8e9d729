"""Line drawings of images, similar to what a person draws: the outline and the main inner lines, on white paper.

Lines are found and drawn at a few times the final size, and smoothed by the reduction.

    1. take the gradient over all channels at once, colour and transparency (Di Zenzo 1986)
    2. subtract the gradient at a coarser scale: shading is as steep there, the edge of an object is not
    3. keep ridges; next to a strong line drop a weak one, which is a rim of light
    4. grow lines from their strong parts into weak ones (Canny 1986); drop short lines
    5. draw what is thin and darker than its surroundings, such as a brow, as one filled stroke, not as two lines
    6. thicken to the pen's width; ink is black, a coloured pencil has the colour of the object at the line
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.hands import Strokes

Style = Literal["ink", "pencil"]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.signedinteger[Any]]
Mask = NDArray[np.bool_]

LIGHTNESS = np.array([0.3, 0.59, 0.11], dtype=np.float32)
# Lightness, red against green, yellow against blue, transparency; a plain outline has about the same size in each.
CHANNELS = np.array([[0.3, 0.59, 0.11, 0], [0.5, -0.5, 0, 0], [0.2, 0.2, -0.4, 0], [0, 0, 0, 0.5]], dtype=np.float32)
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
COARSE = 4


class Lines(NamedTuple):
    """Pixels of thin lines: rows (N,), columns (N,) and normals (N, 2), all in working pixels."""

    rows: Integers
    columns: Integers
    normals: Floats

    def aside(self, distance: float, limit: int) -> tuple[Integers, Integers]:
        """Return rows and columns of the points that lie `distance` along the normals, at most `limit` - 1."""
        steps = np.rint(self.normals * distance).astype(np.intp)
        return (self.rows + steps[:, 0]).clip(0, limit - 1), (self.columns + steps[:, 1]).clip(0, limit - 1)

    def where(self, kept: Mask) -> "Lines":
        """Return those pixels for which `kept` (N,) is true."""
        return Lines(self.rows[kept], self.columns[kept], self.normals[kept])


def on_white(picture: Image.Image, size: int) -> Image.Image:
    """Return the image on white paper, padded to a square of `size` pixels (RGB)."""
    return squared(picture, size).convert("RGB")


def draw(
    picture: Image.Image,
    *,
    size: int,
    style: Style,
    rng: np.random.Generator,
    hand: Strokes | None = None,
    unsteady: np.random.Generator | None = None,
) -> Image.Image:
    """Return a sketch of the image, RGB (size, size), in the place where `on_white` puts it.

    Args:
        picture: any mode; transparency gives the outline where the colour does not.
        size: side of the sketch, in pixels.
        style: "ink" for black lines, "pencil" for lines in the colour of what they outline.
        rng: varies the pen's width and the amount of detail a little from image to image.
        hand, unsteady: what the hand does to the lines, and where; None for nothing.

    Raises:
        UsageError: an unknown style.
    """
    if style not in ("ink", "pencil"):
        raise UsageError(f"unknown style '{style}'", hint="choose one of: ink, pencil")
    detail, width, pressure = rng.uniform((0.8, 0.85, 0.85), (1.25, 1.2, 1.0))
    zoom = 4 if size <= 96 else 2
    square = squared(picture, size * zoom)
    strokes = _strokes(square, zoom)
    lines = _lines(square, zoom, threshold=0.020 * detail, avoid=_grow(strokes, 0.6 * zoom) > 0.5)
    hand, unsteady = hand or Strokes(), unsteady or np.random.default_rng(0)
    # The colours are those at the right place, wherever the hand draws.
    inked_at = _with_hand(lines, strokes, hand, unsteady)
    # The pen of larger sketches is wider, but not in proportion.
    radius = hand.width * width * (size / 64) ** 0.35 * zoom / 2
    coverage = _pen(*inked_at, max(radius - 0.5, 0.0), zoom)
    if style == "ink":
        colour = np.full((size, size, 3), 0.06, dtype=np.float32)
    else:
        colour = _pencil(square, lines, strokes, zoom)
        coverage = coverage * pressure
    sketch = 1 - coverage[..., None] * (1 - colour)
    return Image.fromarray(np.rint(sketch * 255).astype(np.uint8))


def _with_hand(lines: Lines, strokes: Mask, hand: Strokes, unsteady: np.random.Generator) -> tuple[Lines, Mask]:
    """Return lines and strokes as a hand draws them."""
    side, state = len(strokes), unsteady.integers(2**62)
    if not hand.gaps and not hand.sway:
        return lines, strokes

    def drawn(rows: Integers, columns: Integers) -> tuple[Mask, Integers, Integers]:
        # The same fields for both, so that a stroke stays beside its line.
        kept = hand.drawn(rows, columns, side, np.random.default_rng(state))
        return kept, *hand.moved(rows, columns, side, np.random.default_rng(state + 1))

    kept, rows, columns = drawn(lines.rows, lines.columns)
    moved = Lines(rows, columns, lines.normals).where(kept)
    kept, rows, columns = drawn(*np.nonzero(strokes))
    inked = np.zeros_like(strokes)
    inked[rows[kept], columns[kept]] = True
    return moved, inked


def squared(picture: Image.Image, size: int) -> Image.Image:
    """Return the image on white as RGBA (size, size); alpha is still that of the image."""
    rgba = picture.convert("RGBA")
    scale = size / max(rgba.size)
    shape = (max(1, round(rgba.width * scale)), max(1, round(rgba.height * scale)))
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).resize(shape, Image.Resampling.LANCZOS)
    flat.putalpha(rgba.getchannel("A").resize(shape, Image.Resampling.LANCZOS))
    # Bars next to a photograph without transparency are opaque white: otherwise its frame would be an outline.
    paper = 0 if _cut_out(rgba) else 255
    square = Image.new("RGBA", (size, size), (255, 255, 255, paper))
    square.paste(flat, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    return square


def _cut_out(picture: Image.Image) -> bool:
    return picture.getchannel("A").getextrema() != (255, 255)


def _strokes(square: Image.Image, zoom: int) -> Mask:
    """Return where something thin is darker than its surroundings, within about one final pixel."""
    small = np.asarray(square.convert("L").reduce(2), dtype=np.float32)
    closed = _extreme(_extreme(small, zoom // 2, np.maximum), zoom // 2, np.minimum)
    light, lack = _enlarge(small, square.width), _enlarge(closed - small, square.width)
    mask = lack > 60
    rows, columns = np.nonzero(mask)
    label = _connected(rows, columns, mask.shape)
    area = np.bincount(label, minlength=1)
    # The tip of a large dark area is not a stroke: the dark continues where the stroke ends.
    dark = light[rows, columns] + 0.5 * lack[rows, columns]
    going_on = np.zeros(len(rows))
    for y, x in NEIGHBOURS:
        far = (rows + y * zoom).clip(0, square.width - 1), (columns + x * zoom).clip(0, square.width - 1)
        going_on += ~mask[far] & (light[far] < dark)
    alone = np.bincount(label, weights=going_on, minlength=1) < 0.04 * len(NEIGHBOURS) * area
    mask[rows, columns] = (alone & (area >= 1.5 * zoom**2))[label]
    return mask


def _extreme(values: Floats, reach: int, choose: np.ufunc) -> Floats:
    """Return the greatest or least of (H, W) within a square of 2 `reach` + 1 pixels."""
    height, width = values.shape
    padded = np.pad(values, reach, mode="edge")
    rows: Floats = choose.reduce([padded[k : k + height] for k in range(2 * reach + 1)])
    square: Floats = choose.reduce([rows[:, k : k + width] for k in range(2 * reach + 1)])
    return square


def _enlarge(values: Floats, size: int) -> Floats:
    return np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR))


def _lines(square: Image.Image, zoom: int, *, threshold: float, avoid: Mask) -> Lines:
    """Return the lines of the image, but none where `avoid` (H, W) is true."""
    # A cut-out object ends at the paper's edge; a photograph continues beyond it.
    margin = COARSE if _cut_out(square) else 0
    limit = square.width - 1
    square = ImageOps.expand(square, margin, (255, 255, 255, 0))
    steep, down, across = _gradient(_blur(_channels(square), 0.4 * zoom))
    shading, _, _ = _gradient(_blur(_channels(square.reduce(COARSE)), 1.4 * zoom / COARSE))
    steep -= _enlarge(shading / COARSE, square.width)
    lines = _ridges(steep, down, across, least=0.3 * threshold, reach=round(1.75 * zoom))
    lines = lines.where(~np.pad(avoid, margin)[lines.rows, lines.columns])
    label = _connected(lines.rows, lines.columns, steep.shape)
    length = np.bincount(label)
    strong = np.bincount(label, weights=steep[lines.rows, lines.columns] > threshold)
    lines = lines.where(((length >= 4.5 * zoom) & (strong >= 0.3 * length))[label])
    # An outline on the paper's edge is drawn just inside it.
    rows, columns = ((each - margin).clip(1, limit - 1) for each in (lines.rows, lines.columns))
    return Lines(rows, columns, lines.normals)


def _ridges(steep: Floats, down: Floats, across: Floats, *, least: float, reach: int) -> Lines:
    """Return where it is steepest along its own direction, and not near something twice as steep."""
    size = len(steep)
    rows, columns = np.nonzero(steep > least)
    lines = Lines(rows, columns, np.stack([down[rows, columns], across[rows, columns]], axis=1))
    here = steep[rows, columns]
    ridge = (here >= steep[lines.aside(1, size)]) & (here > steep[lines.aside(-1, size)])
    lines, here = lines.where(ridge), here[ridge]
    beside = [steep[lines.aside(sign * far, size)] for far in range(2, reach + 1) for sign in (-1, 1)]
    return lines.where(here > 0.5 * np.max(beside, axis=0))


def _channels(square: Image.Image) -> Floats:
    pixels = np.asarray(square, dtype=np.float32).reshape(-1, 4)
    return (CHANNELS / 255 @ pixels.T).reshape(4, square.height, square.width)


def _gradient(channels: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the steepness (H, W) of (C, H, W) taken together, and the direction (down, across) of it."""
    down, across = np.zeros_like(channels), np.zeros_like(channels)
    down[:, 1:-1] = (channels[:, 2:] - channels[:, :-2]) / 2
    across[:, :, 1:-1] = (channels[:, :, 2:] - channels[:, :, :-2]) / 2
    # The slope continues at the border, so that there is no ridge.
    for slope in (down.swapaxes(1, 0), across.transpose(2, 0, 1)):
        slope[0], slope[-1] = slope[1], slope[-2]
    yy, xx, yx = ((one * other).sum(axis=0) for one, other in ((down, down), (across, across), (down, across)))
    steep = np.sqrt((yy + xx + np.hypot(yy - xx, 2 * yx)) / 2)
    angle = np.arctan2(2 * yx, xx - yy) / 2
    return steep, np.sin(angle), np.cos(angle)


def _connected(rows: Integers, columns: Integers, shape: tuple[int, ...]) -> Integers:
    """Return for each pixel (N,) the least index of the pixels that it is connected with."""
    count = len(rows)
    index = np.full((shape[0] + 2, shape[1] + 2), count)
    index[rows + 1, columns + 1] = np.arange(count)
    near = np.stack([index[rows + 1 + y, columns + 1 + x] for y, x in NEIGHBOURS])
    label = np.arange(count + 1)
    while True:
        least: Integers = np.minimum(label[:count], label[near].min(axis=0, initial=count))
        least = least[least]
        if np.array_equal(least, label[:count]):
            return least
        label[:count] = least


def _pen(lines: Lines, strokes: Mask, radius: float, zoom: int) -> Floats:
    """Return how much of each final pixel a pen covers whose point has this radius in working pixels, 0..1."""
    inked = np.zeros_like(strokes)
    inked[lines.rows, lines.columns] = True
    drawn = np.maximum(_grow(inked, radius), strokes)
    soft = (_blur(drawn[None], 0.3 * zoom)[0] - 0.2) / 0.6
    return np.asarray(Image.fromarray(soft.clip(0, 1)).reduce(zoom))


def _grow(mask: Mask, radius: float) -> Floats:
    """Return (H, W) in 0..1: 1 within `radius` of the mask, and falling to 0 one pixel further on."""
    reach, (height, width) = int(radius) + 1, mask.shape
    padded, grown = np.pad(mask.astype(np.float32), reach), np.zeros(mask.shape, dtype=np.float32)
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            share = np.float32(radius + 1 - np.hypot(y, x))
            if share > 0:
                seen = padded[reach + y : reach + y + height, reach + x : reach + x + width]
                np.maximum(grown, min(share, np.float32(1)) * seen, out=grown)
    return grown


def _pencil(square: Image.Image, lines: Lines, strokes: Mask, zoom: int) -> Floats:
    """Return the colour (size, size, 3) of the pencil at and near lines: of the side that differs more from paper."""
    half = np.asarray(square.reduce(2), dtype=np.float32).transpose(2, 0, 1) / 255
    solid = half[3:] ** 2 + 1e-4
    colour = _blur(half[:3] * solid, 0.25 * zoom) / _blur(solid, 0.25 * zoom)
    # The object is preferred to its background, and what is visible on paper to what is not.
    presence = 2 * (half[3] > 0.5) + np.sqrt(((1 - colour) ** 2).sum(axis=0))
    one, other = ((y // 2, x // 2) for y, x in (lines.aside(sign * 1.5 * zoom, square.width) for sign in (-1, 1)))
    y, x = np.where(presence[one] > presence[other], one, other)
    inked_y, inked_x = np.nonzero(strokes)
    colours = np.concatenate([colour[:, y, x], colour[:, inked_y // 2, inked_x // 2]], axis=1)
    final = np.concatenate([lines.rows, inked_y]) // zoom, np.concatenate([lines.columns, inked_x]) // zoom
    sums = np.zeros((square.height // zoom, square.width // zoom, 4), dtype=np.float32)
    np.add.at(sums, final, np.concatenate([colours, np.ones_like(colours[:1])]).T)
    near = _blur(sums.transpose(2, 0, 1), 0.8)
    return _visible(near[:3] / np.maximum(near[3:], 1e-6)).transpose(1, 2, 0)


def _visible(colour: Floats) -> Floats:
    """Return colours (3, H, W) with more saturation, and dark enough to be visible on white."""
    light = np.tensordot(LIGHTNESS, colour, 1)
    vivid = (light + 1.25 * (colour - light)).clip(0, 1)
    limit = 0.55 + 0.15 * (vivid.max(axis=0) - vivid.min(axis=0))
    darker: Floats = vivid * np.minimum(1, limit / np.maximum(np.tensordot(LIGHTNESS, vivid, 1), 1e-3))
    return darker


def _blur(values: Floats, sigma: float) -> Floats:
    """Return (C, H, W) blurred by a Gaussian; the border is repeated beyond."""
    reach = max(1, round(2.5 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    # One channel at a time stays in the processor's cache.
    return np.stack([_blur_rows(_blur_rows(channel, kernel).T, kernel).T for channel in values])


def _blur_rows(values: Floats, kernel: Floats) -> Floats:
    reach, height = len(kernel) // 2, len(values)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    blurred: Floats = kernel[reach] * padded[reach : reach + height]
    for k in range(reach):
        blurred += kernel[k] * (padded[k : k + height] + padded[2 * reach - k : 2 * reach - k + height])
    return blurred
