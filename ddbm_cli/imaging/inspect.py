"""The properties of one image that a check of data compares: kind of file, size, content and style."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddbm_cli.foundation.hashing import sha256_of_parts
from ddbm_cli.imaging.io import READABLE, opened, turn_of
from ddbm_cli.imaging.preprocess import Size

SMALL = 256
"""Longest side, in pixels, at which two images are compared."""

SAME = 1.5
"""Mean difference of two images, in levels, up to which they show the same: re-encoding makes less, blur more."""

ROWS = 2**22
"""Pixels that are hashed at a time."""


@dataclass(frozen=True)
class Look:
    """One image.

    size: (width, height), upright. kinds: words for what is unusual in its file. digest: of its pixels.
    style: saturation, contrast and brightness, each 0..1: which differ between sources and targets in many data sets.
    """

    size: Size
    kinds: tuple[str, ...]
    digest: bytes
    style: tuple[float, float, float]


def look(body: bytes, *, name: str) -> tuple[Look, Image.Image]:
    """Decode an image; return its look, and the image (RGB) at SMALL pixels.

    Args:
        body: the bytes of its file.
        name: what errors call it.

    Raises:
        ImageError: it cannot be used.
    """
    with opened(body, name=name) as image:
        return look_of(image, kinds=unusual(body))


def _parts(image: Image.Image) -> Iterator[bytes]:
    """Yield an image's mode and size, then its pixels in blocks of rows."""
    yield repr((image.mode, image.size)).encode()
    rows = max(1, ROWS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))).tobytes()


def look_of(image: Image.Image, *, kinds: tuple[str, ...] = ()) -> tuple[Look, Image.Image]:
    """Return the look of an opened image (RGB or RGBA), and the image (RGB) at SMALL pixels."""
    digest = bytes.fromhex(sha256_of_parts(_parts(image)))
    small = image.copy()
    small.thumbnail((SMALL, SMALL), Image.Resampling.BOX)
    flat = Image.new("RGB", small.size, "white")
    flat.paste(small.convert("RGB"), mask=small if small.mode == "RGBA" else None)
    levels = np.asarray(flat, dtype=np.float32) / 255
    saturation = levels.max(axis=2) - levels.min(axis=2)
    style = (float(saturation.mean()), float(levels.mean(axis=2).std()), float(levels.mean()))
    return Look(image.size, kinds, digest[:16], style), flat


def same(first: Image.Image, second: Image.Image) -> bool:
    """Return whether two images (RGB) are equal, apart from their size and compression."""
    size = min(first.size, second.size)
    one, other = (
        np.asarray(each if each.size == size else each.resize(size, Image.Resampling.BOX), dtype=np.float32)
        for each in (first, second)
    )
    return float(np.abs(one - other).mean()) <= SAME


def unusual(body: bytes) -> tuple[str, ...]:
    """Return words for what is unusual in the file of an image that can be decoded; () for nothing."""
    with Image.open(io.BytesIO(body), formats=READABLE) as found:
        facts = {
            "rotated by EXIF": turn_of(found) is not None,
            "CMYK": found.mode == "CMYK",
            "16-bit": _is_deep(found),
            "transparent": found.has_transparency_data,
            "animated": getattr(found, "n_frames", 1) > 1,
            "grey": found.mode in ("1", "L", "LA") or found.mode.startswith("I"),
        }
    return tuple(name for name, there in facts.items() if there)


def _is_deep(found: Image.Image) -> bool:
    """Return whether an image has more than 8 bits per channel; where it has colours too, Pillow keeps 8 of them."""
    tiles = str(getattr(found, "tile", ""))
    return found.mode in ("I", "F") or any(mark in tiles for mark in (";16", "16B", "16L", "16N"))
