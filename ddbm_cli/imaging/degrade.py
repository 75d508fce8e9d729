"""Degradations that make a source of a target, for training restoration from targets alone.

They are the operators of I2SB (Liu et al. 2023, arXiv:2302.05872) and DDRM (Kawar et al. 2022, arXiv:2201.11793), on
images of 8 bits and of the model's size, as files that are translated later hold them:

    sr4             mean of each 4x4 block, repeated (DDRM's sr4, I2SB's sr4x-pool); sr2, sr8
    sr4-bicubic     bicubic reduction (a = -1/2, antialiased) to a quarter, each pixel repeated (I2SB's sr4x-bicubic)
    jpeg10          JPEG of quality 10 with 4:2:0 chroma; jpeg5, jpeg20, jpeg50
    blur            mean of 9x9 pixels (deblur_uni); borders are repeated
    blur-gauss      5x5 Gaussian of sigma 10 (deblur_gauss)
    inpaint-center  a hole over the middle half of height and width
    inpaint-freeform  a hole of brush strokes over 20 to 30 % of the area; inpaint-freeform1020, 2030 and 3040 name
                    the range
    grey            luma of ITU-R BT.601; grey-mean is the mean of the channels (DDRM's colorization)
    edges           white minus the Sobel gradient of the luma

A hole is filled with grey, as in translation with `--mask`.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ddbm_cli.imaging.preprocess import to_picture, to_tensor

HOLE = 0.0
"""Grey: what an inpainting model gets in the hole; values are in -1..1."""

PREFIX = "degrade:"

Random = np.random.Generator
Degrade = Callable[[Image.Image, Random], Image.Image]

ATTEMPTS = 1000
"""Brush strokes that are tried for a hole, at most."""


def degraded(target: Tensor, name: str, seed: int) -> Tensor:
    """Return the source (3, H, W) in -1..1 that a degradation makes of a target.

    Args:
        target: (3, H, W) in -1..1.
        name: PREFIX and one of `DEGRADATIONS`, such as "degrade:sr4".
        seed: of what is random in it.
    """
    image = DEGRADATIONS[name.removeprefix(PREFIX)](to_picture(target), np.random.default_rng(seed))
    return to_tensor(image) if image.mode == "RGB" else _with_hole(target, image)


def is_inpainting(name: str | None) -> bool:
    """Return whether a degradation makes a hole."""
    return name is not None and name.startswith(f"{PREFIX}inpaint")


def multiple_of(name: str | None) -> int:
    """Return what height and width must be a multiple of."""
    word = (name or "").removeprefix(PREFIX)
    return int(word[2]) if word.startswith("sr") else 1


def _with_hole(target: Tensor, mask: Image.Image) -> Tensor:
    hole = torch.from_numpy(np.asarray(mask) > 0)
    return torch.where(hole, HOLE, target)


def _reduced(factor: int, filter: Image.Resampling) -> Degrade:
    def apply(image: Image.Image, random: Random) -> Image.Image:
        small = image.resize((max(1, image.width // factor), max(1, image.height // factor)), filter)
        return small.resize(image.size, Image.Resampling.NEAREST)

    return apply


def _jpeg(quality: int) -> Degrade:
    def apply(image: Image.Image, random: Random) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality, subsampling=2)
        with Image.open(stream, formats=["JPEG"]) as read:
            return read.convert("RGB")

    return apply


def _blurred(kernel: np.ndarray) -> Degrade:
    """Convolve with a separable kernel, given for one axis."""

    def apply(image: Image.Image, random: Random) -> Image.Image:
        values = np.asarray(image, dtype=np.float32)
        for axis in (0, 1):
            values = _convolved(values, kernel, axis)
        return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))

    return apply


def _convolved(values: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    reach = len(kernel) // 2
    width = [(reach, reach) if each == axis else (0, 0) for each in range(values.ndim)]
    padded, length = np.pad(values, width, mode="edge"), values.shape[axis]
    parts = (weight * padded.take(range(at, at + length), axis) for at, weight in enumerate(kernel))
    return sum(parts, start=np.zeros_like(values))


def _center_hole(image: Image.Image, random: Random) -> Image.Image:
    width, height = image.size
    mask = Image.new("L", image.size)
    left, top = width // 4, height // 4
    mask.paste(255, (left, top, left + width // 2, top + height // 2))
    return mask


def _strokes(low: float, high: float) -> Degrade:
    """Return what draws brush strokes over a share of the area between two limits."""

    def apply(image: Image.Image, random: Random) -> Image.Image:
        mask = Image.new("L", image.size)
        for _ in range(ATTEMPTS):
            more = mask.copy()
            _stroke(more, random)
            share = _share(more)
            mask = more if share <= high else mask
            if _share(mask) >= low:
                return mask
        mask = Image.new("L", image.size)
        mask.paste(255, (0, 0, round(image.width * (low + high) / 2), image.height))
        return mask

    return apply


def _stroke(mask: Image.Image, random: Random) -> None:
    """Draw one stroke: a walk with small turns and round joints."""
    side = min(mask.size)
    x, y = random.uniform(0, mask.width), random.uniform(0, mask.height)
    angle, brush = random.uniform(0, 2 * math.pi), max(1, round(side * random.uniform(0.03, 0.09)))
    pen = ImageDraw.Draw(mask)
    for _ in range(int(random.integers(2, 9))):
        angle += random.uniform(-1, 1)
        reach = side * random.uniform(0.05, 0.2)
        new_x, new_y = x + reach * math.cos(angle), y + reach * math.sin(angle)
        pen.line((x, y, new_x, new_y), fill=255, width=brush)
        half = brush / 2
        pen.ellipse((new_x - half, new_y - half, new_x + half, new_y + half), fill=255)
        x, y = new_x, new_y


def _share(mask: Image.Image) -> float:
    return float((np.asarray(mask) > 0).mean())


def _grey(image: Image.Image, random: Random) -> Image.Image:
    return image.convert("L").convert("RGB")


def _grey_mean(image: Image.Image, random: Random) -> Image.Image:
    levels = np.asarray(image, dtype=np.float32).mean(axis=2, keepdims=True).round().astype(np.uint8)
    return Image.fromarray(levels.repeat(3, axis=2))


def _edges(image: Image.Image, random: Random) -> Image.Image:
    luma = np.asarray(image.convert("L"), dtype=np.float32)
    smooth, slope = np.array([0.25, 0.5, 0.25], np.float32), np.array([-1, 0, 1], np.float32)
    across, down = (_convolved(_convolved(luma, smooth, 1 - axis), slope, axis) for axis in (1, 0))
    levels = (255 - np.hypot(across, down)).clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


_GAUSS = np.exp(-0.5 * (np.arange(-2, 3, dtype=np.float32) / 10) ** 2)

DEGRADATIONS: dict[str, Degrade] = {
    **{f"sr{factor}": _reduced(factor, Image.Resampling.BOX) for factor in (2, 4, 8)},
    **{f"sr{factor}-bicubic": _reduced(factor, Image.Resampling.BICUBIC) for factor in (2, 4, 8)},
    **{f"jpeg{quality}": _jpeg(quality) for quality in (5, 10, 20, 50)},
    "blur": _blurred(np.full(9, 1 / 9, np.float32)),
    "blur-gauss": _blurred(_GAUSS / _GAUSS.sum()),
    "inpaint-center": _center_hole,
    "inpaint-freeform": _strokes(0.2, 0.3),
    "inpaint-freeform1020": _strokes(0.1, 0.2),
    "inpaint-freeform2030": _strokes(0.2, 0.3),
    "inpaint-freeform3040": _strokes(0.3, 0.4),
    "grey": _grey,
    "grey-mean": _grey_mean,
    "edges": _edges,
}
