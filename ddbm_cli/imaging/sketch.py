"""Line drawings of pictures, close to what a person draws: the outline and the main inner lines, on white paper.

The lines are found at a few times the final size and drawn there, then made smaller, which smooths them:

    1. smooth the picture, so that texture and shading do not become lines
    2. take the gradient of colour and of transparency; keep its ridges (Canny 1986: thin, two thresholds)
    3. drop short pieces
    4. thicken to the pen's width; ink is black, a coloured pencil takes the colour beside the line
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ddbm_cli.errors import UsageError

Style = Literal["ink", "pencil"]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

OVERSAMPLING = 4
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def on_white(picture: Image.Image, size: int) -> Image.Image:
    """Return the picture on white paper, padded to a square of `size` pixels (RGB)."""
    return _square(picture, size).convert("RGB")


def draw(picture: Image.Image, *, size: int, style: Style, rng: np.random.Generator) -> Image.Image:
    """Return a sketch of the picture, RGB (size, size), in the same place as `on_white` shows it.

    Args:
        picture: any mode; transparency tells the outline where the colour does not.
        style: "ink" for black lines, "pencil" for lines in the colour of what they outline.
        rng: decides the pen's width and how much is drawn, a little differently for each picture.

    Raises:
        UsageError: an unknown style.
    """
    if style not in ("ink", "pencil"):
        raise UsageError(f"unknown style '{style}'", hint="choose one of: ink, pencil")
    detail, width = rng.uniform(0.85, 1.25), rng.uniform(1.0, 1.35)
    work = size * OVERSAMPLING
    square = _square(picture, work)
    smooth = square.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.GaussianBlur(0.55 * OVERSAMPLING))
    pixels = np.asarray(smooth, dtype=np.float32) / 255
    lines = _lines(pixels, threshold=0.055 * detail, shortest=int(2.2 * size * OVERSAMPLING / 16))
    pen = _blur(lines.astype(np.float32), 0.36 * width * OVERSAMPLING)
    # A line's middle is the pen's full strength; a third of it and less is paper, which makes the edge crisp.
    middle = np.quantile(pen[lines], 0.35) if lines.any() else 1.0
    coverage = np.clip((np.minimum(pen / middle, 1) - 0.35) / 0.4, 0, 1)
    if style == "ink":
        colour = np.full_like(pixels[..., :3], 0.08)
    else:
        colour = _pencil(pixels, lines, width)
        coverage = coverage * 0.95
    sketch = 1 - coverage[..., None] * (1 - colour)
    whole = Image.fromarray((sketch * 255).round().astype(np.uint8))
    return whole.resize((size, size), Image.Resampling.BOX)


def _square(picture: Image.Image, size: int) -> Image.Image:
    """Return the picture on white as RGBA (size, size); alpha still says where it was."""
    rgba = picture.convert("RGBA")
    scale = size / max(rgba.size)
    shape = (max(1, round(rgba.width * scale)), max(1, round(rgba.height * scale)))
    white = Image.new("RGBA", rgba.size, "white")
    flat = Image.alpha_composite(white, rgba).resize(shape, Image.Resampling.LANCZOS)
    flat.putalpha(rgba.getchannel("A").resize(shape, Image.Resampling.LANCZOS))
    square = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    square.paste(flat, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    return square


def _lines(pixels: Floats, *, threshold: float, shortest: int) -> Mask:
    """Return thin lines (H, W) where colour or transparency of (H, W, 4) changes."""
    down, across = np.gradient(pixels, axis=(0, 1))
    strength = np.sqrt(down**2 + across**2)
    channel = strength.argmax(axis=2)[..., None]
    dy, dx = (np.take_along_axis(slope, channel, axis=2)[..., 0] for slope in (down, across))
    height = strength.max(axis=2)
    ridge = _thin(height, dy, dx)
    strong = ridge & (height > threshold)
    weak = ridge & (height > 0.45 * threshold)
    return _long_pieces(weak, strong, shortest)


def _thin(height: Floats, dy: Floats, dx: Floats) -> Mask:
    """Return where `height` is largest along its own slope, told in four directions."""
    padded = np.pad(height, 1)
    angle = np.round(np.arctan2(dy, dx) / (np.pi / 4)).astype(int) % 4
    ridge = np.zeros(height.shape, dtype=bool)
    for index, (y, x) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead = padded[1 + y : 1 + y + height.shape[0], 1 + x : 1 + x + height.shape[1]]
        behind = padded[1 - y : 1 - y + height.shape[0], 1 - x : 1 - x + height.shape[1]]
        ridge |= (angle == index) & (height >= ahead) & (height > behind)
    return ridge


def _long_pieces(weak: Mask, strong: Mask, shortest: int) -> Mask:
    """Return the connected pieces of `weak` that touch `strong` and have at least `shortest` pixels."""
    kept = np.zeros_like(weak)
    open_pixels = {(int(y), int(x)) for y, x in np.argwhere(weak)}
    while open_pixels:
        piece = [open_pixels.pop()]
        for y, x in piece:
            for step_y, step_x in NEIGHBOURS:
                near = (y + step_y, x + step_x)
                if near in open_pixels:
                    open_pixels.remove(near)
                    piece.append(near)
        rows, columns = zip(*piece, strict=True)
        if len(piece) >= shortest and strong[rows, columns].sum() * 4 >= len(piece):
            kept[rows, columns] = True
    return kept


def _pencil(pixels: Floats, lines: Mask, width: float) -> Floats:
    """Return for each pixel the colour (H, W, 3) of the pencil that draws there."""
    reach = 2 * OVERSAMPLING
    colour = pixels[..., :3]
    # The side that is less like paper is the thing; the other is what lies behind it.
    candidates = [np.roll(colour, (y * reach, x * reach), axis=(0, 1)) for y, x in [(0, 0), *NEIGHBOURS]]
    distance = np.stack([((1 - each) ** 2).sum(axis=2) for each in candidates])
    inside = np.take_along_axis(np.stack(candidates), distance.argmax(axis=0)[None, ..., None], axis=0)[0]
    weight = lines[..., None].astype(np.float32)
    spread = _blur(inside * weight, width * OVERSAMPLING) / np.maximum(_blur(weight, width * OVERSAMPLING), 1e-6)
    # Pale colours would vanish on paper: darken to a lightness that shows.
    light = spread @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    return spread * np.minimum(1, 0.62 / np.maximum(light, 1e-3))[..., None]


def _blur(values: Floats, radius: float) -> Floats:
    """Return (H, W) or (H, W, C) blurred by a Gaussian; beyond the border is 0."""
    reach = max(1, int(3 * radius))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if each == axis else (0, 0) for each in range(values.ndim)])
        values = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis) @ kernel
    return values
