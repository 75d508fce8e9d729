"""Edits of images with their instructions, for training models that edit by instruction.

An edit takes an object on white paper, as colours (H, W, 3) and silhouette (H, W), both in 0..1, and returns the image
before it, the image after it, and the words of its instruction. Nothing outside the silhouette changes, unless the edit
says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ddbm_cli.imaging.alpha import cut_out
from ddbm_cli.imaging.sketch import squared

Floats = NDArray[np.floating[Any]]
Random = np.random.Generator

LUMA = np.array([0.299, 0.587, 0.114])

COLOURS = {
    "red": (214, 40, 40),
    "orange": (240, 130, 30),
    "yellow": (244, 205, 40),
    "green": (50, 150, 60),
    "turquoise": (40, 180, 180),
    "blue": (45, 85, 205),
    "purple": (125, 60, 175),
    "pink": (238, 120, 170),
    "brown": (125, 78, 45),
}
"""Named colours, 8 bits per channel."""

STRIPES = 8
"""Number of stripes over the height of an image; fixed, because no instruction says it."""

LEAST_CHANGE = 0.02
"""Mean absolute difference of the colours, relative to the silhouette's area, below which a pair shows no edit."""


@dataclass(frozen=True)
class Drawing:
    """An object on white paper: colours (H, W, 3) and silhouette (H, W), 0..1."""

    colours: Floats
    silhouette: Floats

    @classmethod
    def of(cls, picture: Image.Image, size: int) -> "Drawing":
        """Return an image as a square of `size` pixels; without transparency the object is what is not white paper."""
        square = squared(picture, size)
        flat, alpha = square.convert("RGB"), square.getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = cut_out(flat, 255)
        return cls(np.asarray(flat, dtype=np.float64) / 255, np.asarray(alpha, dtype=np.float64) / 255)


@dataclass(frozen=True)
class Edited:
    """An image before and after an edit, (H, W, 3) in 0..1; value: what the instruction names, "" for nothing."""

    before: Floats
    after: Floats
    value: str = ""

    def change(self, drawing: Drawing) -> float:
        """Return the mean absolute difference, relative to the area of the silhouette."""
        return float(np.abs(self.after - self.before).mean(axis=2).sum() / max(drawing.silhouette.sum(), 1.0))

    def pictures(self) -> tuple[Image.Image, Image.Image]:
        """Return the two images, RGB."""
        before, after = (Image.fromarray(np.rint(255 * each).astype(np.uint8)) for each in (self.before, self.after))
        return before, after


@dataclass(frozen=True)
class Edit:
    """A kind of edit.

    apply: the edit of a drawing, with what is random in it.
    instructions: sentences for it; `{value}` is what `Edited.value` names.
    """

    apply: Callable[[Drawing, Random], Edited]
    instructions: tuple[str, ...]


def recoloured(drawing: Drawing, name: str) -> Floats:
    """Return the object in a named colour; its shading is kept, and its mean lightness moves half of the way."""
    target = np.array(COLOURS[name]) / 255
    light, inside = drawing.colours @ LUMA, drawing.silhouette > 0.5
    mean = light[inside].mean() if inside.any() else 0.5
    light = (light + 0.5 * (target @ LUMA - mean)).clip(0, 1)
    room = np.minimum(light, 1 - light) / min(target @ LUMA, 1 - target @ LUMA)
    vivid = light[..., None] + room.clip(0, 1.2)[..., None] * (target - target @ LUMA)
    return _inside(drawing, vivid)


def _inside(drawing: Drawing, colours: Floats) -> Floats:
    """Return the drawing with other colours inside its silhouette."""
    share = drawing.silhouette[..., None]
    mixed: Floats = (share * colours + (1 - share) * drawing.colours).clip(0, 1)
    return mixed


def _recolour(drawing: Drawing, random: Random) -> Edited:
    name = str(random.choice(list(COLOURS)))
    return Edited(drawing.colours, recoloured(drawing, name), name)


def _darker(drawing: Drawing, random: Random) -> Edited:
    return Edited(drawing.colours, _inside(drawing, 0.6 * drawing.colours))


def _lighter(drawing: Drawing, random: Random) -> Edited:
    return Edited(drawing.colours, _inside(drawing, 1 - 0.6 * (1 - drawing.colours)))


def _grey(drawing: Drawing, random: Random) -> Edited:
    return Edited(drawing.colours, np.repeat((drawing.colours @ LUMA)[..., None], 3, axis=2))


def _flip(drawing: Drawing, random: Random) -> Edited:
    return Edited(drawing.colours, drawing.colours[:, ::-1])


def _upside_down(drawing: Drawing, random: Random) -> Edited:
    return Edited(drawing.colours, drawing.colours[::-1])


def _outline(drawing: Drawing, random: Random) -> Edited:
    width = max(3, 2 * round(len(drawing.silhouette) / 32) + 1)
    mask = Image.fromarray(np.rint(255 * drawing.silhouette).astype(np.uint8))
    grown = np.asarray(mask.filter(ImageFilter.MaxFilter(width)), dtype=np.float64) / 255
    ring = (grown - drawing.silhouette).clip(0, 1)[..., None]
    return Edited(drawing.colours, drawing.colours * (1 - ring))


def _stripes(drawing: Drawing, random: Random) -> Edited:
    place = np.linspace(0, 1, len(drawing.silhouette), endpoint=False)
    band = (place * STRIPES % 1 < 0.5)[:, None, None]
    light = (drawing.colours @ LUMA)[drawing.silhouette > 0.5]
    paint = 0.35 if light.size and light.mean() < 0.5 else -0.35
    return Edited(drawing.colours, _inside(drawing, (drawing.colours + paint * band).clip(0, 1)))


def _remove_background(drawing: Drawing, random: Random) -> Edited:
    light, dark = random.uniform(0.2, 0.9, 3), random.uniform(0.2, 0.9, 3)
    down = np.linspace(0, 1, len(drawing.silhouette))[:, None, None]
    ground = (1 - down) * light + down * dark
    share = drawing.silhouette[..., None]
    # The colours are mixed with white at the outline: 1 - share of them is paper.
    return Edited((drawing.colours - (1 - share) * (1 - ground)).clip(0, 1), drawing.colours)


def _erase(drawing: Drawing, random: Random) -> Edited:
    name = str(random.choice(["left", "right", "top", "bottom"]))
    rows, columns = np.nonzero(drawing.silhouette > 0.5)
    after = drawing.colours.copy()
    if len(rows):
        y, x = (rows.min() + rows.max() + 1) // 2, (columns.min() + columns.max() + 1) // 2
        {"left": after[:, :x], "right": after[:, x:], "top": after[:y], "bottom": after[y:]}[name].fill(1.0)
    return Edited(drawing.colours, after, name)


EDITS: Mapping[str, Edit] = {
    "recolour": Edit(
        _recolour, ("make it {value}", "turn it {value}", "paint it {value}", "change its colour to {value}")
    ),
    "darker": Edit(_darker, ("make it darker", "darken it", "turn it darker")),
    "lighter": Edit(_lighter, ("make it lighter", "lighten it", "make it brighter")),
    "grey": Edit(_grey, ("make it black and white", "remove the colour", "make it grey")),
    "flip": Edit(_flip, ("flip it", "mirror it", "flip it left to right")),
    "upside-down": Edit(_upside_down, ("turn it upside down", "flip it top to bottom")),
    "outline": Edit(_outline, ("add an outline", "outline it", "draw a black outline around it")),
    "stripes": Edit(_stripes, ("make it striped", "add stripes", "give it stripes")),
    "remove-background": Edit(_remove_background, ("remove the background", "make the background white", "cut it out")),
    "erase": Edit(_erase, ("remove the {value} half", "erase the {value} half", "cut off the {value} half")),
}

SKIN = ("make the skin {value}", "change the skin tone to {value}", "give it {value} skin")
"""Instructions between two images of one object in different skin tones."""
