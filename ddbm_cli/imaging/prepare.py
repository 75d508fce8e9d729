"""Pairs of files as pixels for training: both images of a pair are placed alike on the model's square."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.inspect import Look, look, look_of, same, unusual
from ddbm_cli.imaging.io import opened
from ddbm_cli.imaging.layouts import is_double
from ddbm_cli.imaging.pairs import Pair
from ddbm_cli.imaging.preprocess import Preprocess, Size
from ddbm_cli.imaging.stored import Stored, bytes_of, open_image, size_of

PROBED = 64
"""Images that decide how non-square images are fitted."""

WHITE = 250
"""Level from which a pixel of the border counts as paper."""


def prepared(pair: Pair, preprocess: Preprocess) -> Tensor:
    """Return source, if there is one, and target of a pair, uint8 (2 or 1, 3, H, W).

    Raises:
        ImageError: one cannot be read, or their proportions differ.
    """
    with open_image(pair.target) as image:
        if pair.side_by_side:
            halves = _halves(pair, image)
            return torch.stack([_pixels(half, preprocess, half.size) for half in halves])
        size = image.size
        target = _pixels(image, preprocess, size)
    if pair.source is None:
        return target[None]
    with open_image(pair.source) as image:
        _check(pair, image.size, size, preprocess)
        return torch.stack([_pixels(image, preprocess, size), target])


@dataclass(frozen=True)
class Looks:
    """What both images of a pair look like; source is None where there is none. identical: both show the same."""

    source: Look | None
    target: Look
    identical: bool = False

    @property
    def both(self) -> tuple[Look, ...]:
        """Those that there are."""
        return (self.source, self.target) if self.source else (self.target,)


def looks_of(pair: Pair, preprocess: Preprocess) -> Looks:
    """Decode a pair, and return what it looks like.

    Raises:
        ImageError: one cannot be read, or their proportions differ.
    """
    body, name = bytes_of(pair.target), str(pair.target)
    if pair.side_by_side:
        with opened(body, name=name) as image:
            (source, before), (target, after) = (look_of(half) for half in _halves(pair, image))
        return Looks(source, replace(target, kinds=unusual(body)), same(before, after))
    target, after = look(body, name=name)
    if pair.source is None:
        return Looks(None, target)
    source, before = look(bytes_of(pair.source), name=str(pair.source))
    _check(pair, source.size, target.size, preprocess)
    return Looks(source, target, same(before, after))


def probed(pair: Pair, preprocess: Preprocess) -> None:
    """Check a pair by the headers of its files.

    Raises:
        ImageError: one cannot be read, or their proportions differ.
    """
    if isinstance(pair.target, Stored):
        return  # reading one costs nearly as much as decoding it
    size = size_of(pair.target)
    if pair.side_by_side:
        _check_double(pair, size)
    elif pair.source:
        _check(pair, size_of(pair.source), size, preprocess)


def fit_of(pairs: Sequence[Pair]) -> Literal["pad", "crop"]:
    """Return how non-square images are best brought to a square: drawings on white are padded, photographs cropped.

    Some targets, evenly spread, decide: "pad" if all are square, or most others have a white border.
    """
    votes = []
    for pair in pairs[:: max(1, -(-len(pairs) // PROBED))]:
        try:
            width, height = size_of(pair.target)
            width //= 2 if pair.side_by_side else 1
            if width != height:
                with open_image(pair.target) as image:
                    votes.append(_is_on_paper(image))
        except ImageError:
            continue  # the check of the data reports it
    return "pad" if 2 * sum(votes) >= len(votes) else "crop"


def _check(pair: Pair, source: Size, target: Size, preprocess: Preprocess) -> None:
    if not preprocess.fits_with(source, target):
        raise ImageError(
            f"{pair.source} and {pair.target}: {source[0]}x{source[1]} and {target[0]}x{target[1]} pixels differ in "
            "their proportions",
            hint="make the images of a pair of one shape, or pass --fit stretch",
        )


def _halves(pair: Pair, image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Return source and target of an image that shows both."""
    _check_double(pair, image.size)
    middle = image.width // 2
    left, right = (image.crop((x, 0, x + middle, image.height)) for x in (0, middle))
    return (right, left) if pair.mirrored else (left, right)


def _check_double(pair: Pair, size: Size) -> None:
    if size[0] < 2 or not is_double(size):
        raise ImageError(
            f"{pair.target}: {size[0]}x{size[1]} pixels are not two squares side by side", hint="remove it"
        )


def _pixels(image: Image.Image, preprocess: Preprocess, like: Size) -> Tensor:
    tensor, _ = preprocess.forward(image, like=like)
    return ((tensor + 1) * 127.5).round().to(torch.uint8)


def _is_on_paper(image: Image.Image) -> bool:
    """Return whether nearly all of the border is white or transparent."""
    small = image.resize((64, 64), Image.Resampling.BOX)
    flat = Image.new("RGB", small.size, "white")
    flat.paste(small.convert("RGB"), mask=small if small.mode == "RGBA" else None)
    levels = np.asarray(flat).min(axis=2)
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    return bool((border >= WHITE).mean() >= 0.9)
