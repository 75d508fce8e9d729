"""What editing takes next to an image: a coarser or coloured guide to start from, and a mask of what may change.

Both work on the model's square. A mask or an image of colours is one file for all images, or a folder with a file of
each image's name, with any extension; it is placed on the square like the image.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.settings import build, settings
from ddbm_cli.imaging.io import opened, read_file
from ddbm_cli.imaging.preprocess import Placement, Preprocess, to_picture, to_tensor
from ddbm_cli.imaging.walk import Skipped, list_images, stem_key


class Companions:
    """The files that belong to images: one file for all, or a folder with a file of each image's name.

    Args:
        path: the file or folder.
        what: the word for errors, such as "mask".

    Raises:
        UsageError: there is no such file or folder, or a part of it cannot be opened.
    """

    def __init__(self, path: Path, *, what: str) -> None:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder, for the {what}", hint="check the path")
        self._path = path
        self._what = what
        self._files: dict[str, Path] | None = None
        self.skipped = Skipped()
        if path.is_dir():
            listing = list_images(path)
            if listing.closed:
                raise UsageError(listing.closed[0].message, hint=listing.closed[0].hint)
            self._files = listing.stems()
            self.skipped = listing.skipped

    def summary(self) -> str:
        """Return the path and what was skipped in it, as one line for the header."""
        if self._files is None:
            return f"{self._path}, for all images"
        left = f"; left out: {self.skipped}" if self.skipped else ""
        return f"{self._path}, {len(self._files)} images{left}"

    def describe(self, name: str, role: str) -> dict[str, str]:
        """Return the name and the SHA-256 of the file that belongs to an image, as ROLE_file and ROLE_sha256.

        Raises:
            ImageError: there is none, or it cannot be read.
        """
        file = self.file(name)
        written = file.name.encode("utf-8", "backslashreplace").decode()
        return {f"{role}_file": written, f"{role}_sha256": sha256(read_file(file))}

    def square(self, name: str, preprocess: Preprocess, placement: Placement) -> Image.Image:
        """Return the file that belongs to an image on the model's square (RGB), at the position of the image.

        Raises:
            ImageError: there is none, it cannot be read, or its proportions differ from the image's.
        """
        file = self.file(name)
        with opened(file) as image:
            tensor, found = preprocess.forward(image)
        if found.box != placement.box:
            raise ImageError(f"{file}: the proportions of the {self._what} differ from {name}", hint="make them equal")
        return to_picture(tensor)

    def file(self, name: str) -> Path:
        """Return the file that belongs to an image.

        Raises:
            ImageError: there is none.
        """
        if self._files is None:
            return self._path
        key = stem_key(name)
        if key not in self._files:
            raise ImageError(f"{self._path}: no {self._what} for {name}", hint="give it the file name of its image")
        return self._files[key]


@settings
class Blur:
    """A guide without fine lines: the blurred image, which keeps only its layout.

    sigma: in pixels of the model's square.
    """

    name: ClassVar[str] = "blur"

    sigma: Annotated[float, Field(gt=0, le=1000)] = 4.0

    def draw(self, square: Image.Image, colours: Image.Image | None) -> Image.Image:
        """Return the guide of an image."""
        return square.filter(ImageFilter.GaussianBlur(self.sigma))


@settings
class Colour:
    """A guide with colours: the image multiplied by an image of coloured strokes.

    file: the strokes; a file, or a folder.
    """

    name: ClassVar[str] = "colour"

    file: Path

    def draw(self, square: Image.Image, colours: Image.Image | None) -> Image.Image:
        """Return the guide of an image."""
        assert colours is not None
        return ImageChops.multiply(square, colours)


Guide = Blur | Colour
GUIDES: dict[str, type[Any]] = {guide.name: guide for guide in (Blur, Colour)}


class Edit:
    """How images become guides, and where they may change.

    Args:
        guide: "blur", "blur:sigma=4" or "colour:PATH"; None for the image itself.
        mask: white where an image may change, black where it stays; grey counts as white above 127.

    Raises:
        UsageError: an unknown guide, a value out of range, or a path that does not exist.
    """

    def __init__(self, guide: str | None = None, mask: Path | None = None) -> None:
        self._guide = made = _guide(guide) if guide else None
        self._colours = Companions(made.file, what="colours") if isinstance(made, Colour) else None
        self._mask = Companions(mask, what="mask") if mask else None

    def guide(self, tensor: Tensor, name: str, preprocess: Preprocess, placement: Placement) -> Tensor:
        """Return the guide (3, H, W) of an image (3, H, W), both in -1..1.

        Raises:
            ImageError: there are no colours for it, or they cannot be read.
        """
        if self._guide is None:
            return tensor
        colours = self._colours.square(name, preprocess, placement) if self._colours else None
        return to_tensor(self._guide.draw(to_picture(tensor), colours))

    def mask(self, name: str, preprocess: Preprocess, placement: Placement) -> Tensor | None:
        """Return the mask (1, H, W) of an image, 1 where it may change, else 0; None for everywhere.

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
        with opened(self._mask.file(name)) as found:
            mask = preprocess.shown(found).convert("L")
            if mask.size != original.size:
                mask = mask.resize(original.size, Image.Resampling.BILINEAR)
        return Image.composite(image, original, mask.point(lambda level: 255 if level > 127 else 0))

    def facts(self) -> dict[str, str]:
        """Return the header's line about the files."""
        files = {"Mask": self._mask, "Colours": self._colours}
        return {name: each.summary() for name, each in files.items() if each}

    def describe(self, name: str) -> dict[str, Any]:
        """Return all that decides guide and mask of an image, without paths; None for what is not used.

        Raises:
            ImageError: see `guide` and `mask`.
        """
        return {
            "guide": self._guide.name if self._guide else None,
            "guide_sigma": self._guide.sigma if isinstance(self._guide, Blur) else None,
            **(self._colours.describe(name, "guide") if self._colours else {"guide_sha256": None}),
            **(self._mask.describe(name, "mask") if self._mask else {"mask_sha256": None}),
        }


def _guide(spec: str) -> Guide:
    """Return the guide of a spec; a path may contain any signs."""
    name, _, rest = spec.partition(":")
    if name != Colour.name:
        made: Guide = build(GUIDES, spec, what="guide")
        return made
    if not rest:
        raise UsageError("guide 'colour' needs an image of strokes", hint="pass --guide colour:strokes.png")
    return Colour(file=Path(rest))
