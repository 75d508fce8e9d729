"""What in an image a model does not expect, in words, before any work."""

from typing import Literal, NamedTuple

Kind = Literal["photograph", "empty", "inverted", "thin", "objects", "large", "several frames"]

LARGER = 32
"""Side of an image, as a multiple of the model's, from which little of it is left."""


class Finding(NamedTuple):
    """One thing that a model does not expect. message: what, without the image's name; hint: what to do."""

    kind: Kind
    message: str
    hint: str


MEND = "remove --prepare none"

SEVERAL = Finding("several frames", "has several frames or pages: the first is used", "extract the others first")
EMPTY = Finding("empty", "no lines found: the image is empty", "check the image")
LOST = Finding(
    "empty",
    "the drawing is hardly darker than the rules of the paper, and is lost",
    "draw darker lines, or on plain paper",
)
PHOTOGRAPH = Finding(
    "photograph", "looks like a photograph, but the model expects line art", "pass --prepare sketch if it is a drawing"
)
INVERTED = Finding("inverted", "light lines on a dark ground, but the model expects dark lines on white", MEND)


def thin_lines(width: float) -> Finding:
    """Return that lines have this width, in pixels of the model's square."""
    return Finding("thin", f"lines are {width:.2f} pixels wide at the model's size, which is too thin", MEND)


def several(number: int, most: int) -> Finding:
    """Return that there are more objects than the model was trained on."""
    return Finding("objects", f"{number} separate objects, but the model was trained on {most}", MEND)


def large(size: tuple[int, int], side: int) -> Finding:
    """Return that an image is much larger than the model's square."""
    return Finding("large", f"{size[0]}x{size[1]} pixels are reduced to {side}", "crop the image to what matters")
