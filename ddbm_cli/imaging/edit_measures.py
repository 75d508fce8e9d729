"""How far an image went the way that an instruction asks: one attribute for each kind of edit of `imaging.edits`.

    progress = (f(output) - f(before)) / (f(after) - f(before))                    (1)

f is the attribute that the edit changes, `after` the true answer: 1 is as much as asked, 0 nothing, below 0 the wrong
way. Images are (H, W, 3) in 0..1, silhouettes (H, W) in 0..1.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddbm_cli.imaging.alpha import cut_out
from ddbm_cli.imaging.edits import COLOURS, EDITS, LUMA, SKIN, STRIPES, Drawing, Floats

Places = NDArray[np.bool_]

INSIDE = 0.5
"""Opacity from which a pixel belongs to an object."""

MOST_TRIES = 500
"""Draws of an edit's random choices, until the value is the one that is asked for."""

LEAST = 1e-3
"""Change of an attribute below which the true answer shows none."""


@dataclass(frozen=True)
class Truth:
    """A pair: images before and after, the silhouette before, and what the instruction names, "" for nothing."""

    before: Floats
    after: Floats
    silhouette: Floats
    value: str = ""


class Asked(NamedTuple):
    """What an instruction asks for: the kind of edit, and the value that it names, "" for none."""

    kind: str
    value: str


def silhouette_of(image: Floats) -> Floats:
    """Return the silhouette (H, W), 0..1, of an object on white paper."""
    return np.asarray(cut_out(_picture(image), 255), dtype=np.float64) / 255


def iou(one: Floats, other: Floats) -> float:
    """Return the intersection over the union of two silhouettes; 1 where both are empty."""
    first, second = one > INSIDE, other > INSIDE
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def progress(kind: str, output: Floats, truth: Truth) -> float:
    """Return (1) for an output of an edit of a kind; NaN where the true answer hardly differs in the attribute."""
    attribute = ATTRIBUTES[kind]
    before, after, found = (attribute(image, truth) for image in (truth.before, truth.after, output))
    return (found - before) / (after - before) if abs(after - before) >= LEAST else math.nan


def read_instruction(text: str) -> Asked | None:
    """Return what an instruction in the words of `data instruct` asks for, None for other words."""
    plain = " ".join(text.lower().split())
    for kind, sentences in [*((name, edit.instructions) for name, edit in EDITS.items()), ("skin", SKIN)]:
        for sentence in sentences:
            begin, placeholder, end = sentence.partition("{value}")
            if not placeholder and plain == begin:
                return Asked(kind, "")
            value = plain[len(begin) : len(plain) - len(end)]
            if placeholder and plain.startswith(begin) and plain.endswith(end) and value in VALUES.get(kind, (value,)):
                return Asked(kind, value)
    return None


def answer(asked: Asked, drawing: Drawing) -> Truth | None:
    """Return the true answer to an instruction for a drawing; None where the drawing alone does not decide it.

    A background and other skin tones are in no drawing. What an edit chooses at random is chosen as asked.
    """
    if asked.kind not in EDITS or asked.kind == "remove-background":
        return None
    for seed in range(MOST_TRIES):
        edited = EDITS[asked.kind].apply(drawing, np.random.default_rng(seed))
        if edited.value == asked.value:
            return Truth(edited.before, edited.after, drawing.silhouette, edited.value)
    return None


def agreement(instruction: str, before: Image.Image, output: Image.Image) -> float:
    """Return the progress of an output, 0 to 1, towards what an instruction asks of an image on white paper.

    Returns:
        NaN for instructions in other words than those of `data instruct`, and where it asks for what is there.
    """
    asked = read_instruction(instruction)
    size = max(output.size)
    truth = None if asked is None else answer(asked, Drawing.of(before, size))
    if asked is None or truth is None:
        return math.nan
    return float(np.clip(progress(asked.kind, Drawing.of(output, size).colours, truth), 0, 1))


def similarity(before: Image.Image, output: Image.Image) -> float:
    """Return 1 minus the mean absolute difference of two images, values in 0..1, in the size of the output."""
    size = max(output.size)
    return float(1 - np.abs(Drawing.of(before, size).colours - Drawing.of(output, size).colours).mean())


def _picture(image: Floats) -> Image.Image:
    return Image.fromarray(np.rint(255 * image).astype(np.uint8))


def _changed(truth: Truth, least: float) -> Places:
    """Return where (H, W) the true answer changes the colours by more than `least` on average."""
    found: Places = np.abs(truth.after - truth.before).mean(axis=2) > least
    return found


def _mean(image: Floats, truth: Truth) -> Floats:
    """Return the mean colour (3,) inside the silhouette."""
    weight = truth.silhouette[..., None]
    mean: Floats = (weight * image).sum(axis=(0, 1)) / max(weight.sum(), 1.0)
    return mean


def _colour(image: Floats, truth: Truth) -> float:
    """Closeness of the mean colour to the named one, apart from lightness."""
    found, named = _mean(image, truth), np.array(COLOURS[truth.value]) / 255
    return -float(np.linalg.norm((found - found @ LUMA) - (named - named @ LUMA)))


def _lightness(image: Floats, truth: Truth) -> float:
    return float(_mean(image, truth) @ LUMA)


def _colourfulness(image: Floats, truth: Truth) -> float:
    chroma = np.linalg.norm(image - (image @ LUMA)[..., None], axis=2)
    return float((truth.silhouette * chroma).sum() / max(truth.silhouette.sum(), 1.0))


def _like_after(image: Floats, truth: Truth) -> float:
    """Closeness to the image after."""
    return -float(np.abs(image - truth.after).mean())


def _ring(image: Floats, truth: Truth) -> float:
    """Darkness just outside the object, where the true answer has its outline."""
    place = _changed(truth, 0.1)
    return float(1 - (image @ LUMA)[place].mean()) if place.any() else 0.0


def _stripes(image: Floats, truth: Truth) -> float:
    """Strength of horizontal stripes inside the silhouette, of the width that is drawn."""
    weight = truth.silhouette.sum(axis=1)
    rows = (truth.silhouette * (image @ LUMA)).sum(axis=1) / np.maximum(weight, 1.0)
    rows = np.where(weight > 0, rows - rows[weight > 0].mean(), 0.0) if (weight > 0).any() else rows
    return float(np.abs(np.fft.rfft(rows)[STRIPES]) / len(rows))


def _paper(image: Floats, truth: Truth) -> float:
    """Whiteness outside the object."""
    outside = 1 - silhouette_of(truth.after)
    return float((outside * image.mean(axis=2)).sum() / max(outside.sum(), 1.0))


def _erased(image: Floats, truth: Truth) -> float:
    """Whiteness where the true answer is erased."""
    place = _changed(truth, 0.02)
    return float(image[place].mean()) if place.any() else 0.0


def _skin(image: Floats, truth: Truth) -> float:
    """Closeness to the true answer of the mean colour where skin is; hair, whose colour may change too, is left out."""
    place = _has_hue_of_skin(truth.before) & _has_hue_of_skin(truth.after) & _changed(truth, 0.02)
    return -float(np.linalg.norm(image[place].mean(axis=0) - truth.after[place].mean(axis=0))) if place.any() else 0.0


def _has_hue_of_skin(image: Floats) -> Places:
    """Return where (H, W) a colour has the hue of skin, in any tone: an orange of 5 to 45 degrees, not near grey."""
    hue, saturation, _ = np.moveaxis(np.asarray(_picture(image).convert("HSV")) / 255.0, 2, 0)
    found: Places = (saturation > 0.15) & (hue > 5 / 360) & (hue < 45 / 360)
    return found


ATTRIBUTES: Mapping[str, Callable[[Floats, Truth], float]] = {
    "recolour": _colour,
    "darker": _lightness,
    "lighter": _lightness,
    "grey": _colourfulness,
    "flip": _like_after,
    "upside-down": _like_after,
    "outline": _ring,
    "stripes": _stripes,
    "remove-background": _paper,
    "erase": _erased,
    "skin": _skin,
}
"""The attribute of each kind of edit, of an image and its pair."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "recolour": tuple(COLOURS),
    "erase": ("left", "right", "top", "bottom"),
}
"""Values of the kinds that take only some."""
