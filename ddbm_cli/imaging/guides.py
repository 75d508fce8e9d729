"""What an editor is given beside a picture: a coarser or coloured guide to begin with, and a mask of what may change.

Both work on the model's square. A mask or a picture of colours is one file for all pictures, or a folder with a file
of each picture's name, whatever its extension; it lies on the picture as the picture lies on the square.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.settings import build, settings
from ddbm_cli.imaging.io import open_picture, read_file
from ddbm_cli.imaging.pairs import by_stem, pictures_below
from ddbm_cli.imaging.preprocess import Placement, Preprocess, to_picture, to_tensor


class Companions:
    """The files that belong to pictures: one for all, or one of each name in a folder.

    Raises:
        UsageError: there is no such file or folder.
    """

    def __init__(self, path: Path, *, what: str) -> None:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder, for the {what}", hint="check the path")
        self._path = path
        self._what = what

    @cached_property
    def _by_name(self) -> Mapping[str, Path]:
        return by_stem(pictures_below(self._path))

    def describe(self, name: str, role: str) -> dict[str, str]:
        """Return the name and the SHA-256 of the file that belongs to an image, as ROLE_file and ROLE_sha256.

        Raises:
            ImageError: there is none, or it cannot be read.
        """
        file = self.file(name)
        written = file.name.encode("utf-8", "backslashreplace").decode()
        return {f"{role}_file": written, f"{role}_sha256": sha256(read_file(file))}

    def square(self, name: str, preprocess: Preprocess, placement: Placement) -> Image.Image:
        """Return the file that belongs to a picture on the model's square (RGB), where the picture itself lies.

        Raises:
            ImageError: there is none, it cannot be read, or has other proportions than the picture.
        """
        file = self.file(name)
        tensor, found = preprocess.forward(open_picture(file))
        if found.box != placement.box:
            raise ImageError(f"{file}: the {self._what} of {name} has other proportions", hint="make it of equal size")
        return to_picture(tensor)

    def file(self, name: str) -> Path:
        """Return the file that belongs to an image.

        Raises:
            ImageError: there is none.
        """
        if not self._path.is_dir():
            return self._path
        stem = PurePosixPath(name).with_suffix("").as_posix()
        if stem not in self._by_name:
            raise ImageError(f"{self._path}: no {self._what} for {name}", hint="give it the name of its picture")
        return self._by_name[stem]


@settings
class Blur:
    """A guide without fine lines: the picture, blurred, for a strength that leaves its layout alone.

    sigma: in pixels of the model's square.
    """

    name: ClassVar[str] = "blur"

    sigma: Annotated[float, Field(gt=0, le=1000)] = 4.0

    def draw(self, square: Image.Image, colours: Image.Image | None) -> Image.Image:
        """Return the guide of a picture."""
        return square.filter(ImageFilter.GaussianBlur(self.sigma))


@settings
class Colour:
    """A guide with colours: a picture of strokes lies under the lines, both multiplied.

    file: the strokes; a file, or a folder.
    """

    name: ClassVar[str] = "colour"

    file: Path

    def draw(self, square: Image.Image, colours: Image.Image | None) -> Image.Image:
        """Return the guide of a picture."""
        assert colours is not None
        return ImageChops.multiply(square, colours)


Guide = Blur | Colour
GUIDES: dict[str, type[Any]] = {guide.name: guide for guide in (Blur, Colour)}


class Edit:
    """How pictures become guides, and where they may change.

    Args:
        guide: "blur", "blur:sigma=4" or "colour:PATH"; None for the picture itself.
        mask: white where a picture may change, black where it stays; grey is one or the other.

    Raises:
        UsageError: an unknown guide, a value out of range, or a path where nothing is.
    """

    def __init__(self, guide: str | None = None, mask: Path | None = None) -> None:
        self._guide = made = _guide(guide) if guide else None
        self._colours = Companions(made.file, what="colours") if isinstance(made, Colour) else None
        self._mask = Companions(mask, what="mask") if mask else None

    def guide(self, tensor: Tensor, name: str, preprocess: Preprocess, placement: Placement) -> Tensor:
        """Return the guide (3, H, W) of a picture (3, H, W), both in -1..1.

        Raises:
            ImageError: it has no colours, or they cannot be read.
        """
        if self._guide is None:
            return tensor
        colours = self._colours.square(name, preprocess, placement) if self._colours else None
        return to_tensor(self._guide.draw(to_picture(tensor), colours))

    def mask(self, name: str, preprocess: Preprocess, placement: Placement) -> Tensor | None:
        """Return the mask (1, H, W) of a picture, 1 where it may change, else 0; None for everywhere.

        Raises:
            ImageError: there is none, or it cannot be read.
        """
        if self._mask is None:
            return None
        square = self._mask.square(name, preprocess, placement).convert("L")
        return torch.from_numpy((np.asarray(square) > 127).astype(np.float32))[None]

    def composite(self, name: str, image: Image.Image, original: Image.Image, preprocess: Preprocess) -> Image.Image:
        """Return `image` where the mask is white, `original` elsewhere; both RGB, of one size.

        Raises:
            ImageError: the mask cannot be read.
        """
        assert self._mask
        mask = preprocess.shown(open_picture(self._mask.file(name))).convert("L")
        if mask.size != original.size:
            mask = mask.resize(original.size, Image.Resampling.BILINEAR)
        return Image.composite(image, original, mask.point(lambda level: 255 if level > 127 else 0))

    def describe(self, name: str) -> dict[str, Any]:
        """Return all that decides guide and mask of a picture, without paths; None for what is not there.

        Raises:
            ImageError: as `guide` and `mask`.
        """
        return {
            "guide": self._guide.name if self._guide else None,
            "guide_sigma": self._guide.sigma if isinstance(self._guide, Blur) else None,
            **(self._colours.describe(name, "guide") if self._colours else {"guide_sha256": None}),
            **(self._mask.describe(name, "mask") if self._mask else {"mask_sha256": None}),
        }


def _guide(spec: str) -> Guide:
    """Return the guide that a spec names; a path is taken as it is, whatever signs are in it."""
    name, _, rest = spec.partition(":")
    if name != Colour.name:
        made: Guide = build(GUIDES, spec, what="guide")
        return made
    if not rest:
        raise UsageError("guide 'colour' needs a picture of strokes", hint="write --guide colour:strokes.png")
    return Colour(file=Path(rest))
