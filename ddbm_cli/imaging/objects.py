"""Images as Python objects: paths, PIL images, NumPy arrays and torch tensors, read by the same code as files."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import read_file
from ddbm_cli.imaging.preprocess import to_picture, to_tensor

Form = Literal["image", "array", "tensor"]
ImageLike = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor

PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"})


@dataclass(frozen=True)
class Given:
    """An image that a caller gives: its name, the bytes of a file that holds it, and in which form it was given."""

    name: str
    body: bytes
    form: Form


def read_objects(images: ImageLike | Iterable[ImageLike]) -> tuple[list[Given], bool]:
    """Return images, and whether there may be several.

    Args:
        images: one image or several: paths; PIL images of any mode; arrays, uint8, (H, W), (H, W, 3) or (H, W, 4);
            tensors, float, (3, H, W) in -1..1. Several are a list, a generator, an array (N, H, W, 3 or 4)
            or a tensor (N, 3, H, W).
            Images without a file name are named by their position, "0", "1" and so on.

    Raises:
        ImageError: a file cannot be read.
        UsageError: an object is not an image.
    """
    several = isinstance(images, list | tuple | Iterator) or (
        isinstance(images, np.ndarray | Tensor) and images.ndim == 4
    )
    each: Sequence[Any] = list(images) if several else [images]  # type: ignore[arg-type]
    return [_read(image, str(index)) for index, image in enumerate(each)], several


def as_form(image: Image.Image, form: Form) -> Image.Image | np.ndarray[Any, Any] | Tensor:
    """Return an RGB image as a PIL image, as uint8 (H, W, 3), or as float32 (3, H, W) in -1..1."""
    if form == "array":
        return np.array(image)
    return to_tensor(image) if form == "tensor" else image


def _read(image: ImageLike, name: str) -> Given:
    if isinstance(image, str | Path):
        return Given(Path(image).name, read_file(Path(image)), "image")
    if isinstance(image, Image.Image):
        file = Path(getattr(image, "filename", "") or name).name
        return Given(file, _encoded(image), "image")
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            shape = tuple(image.shape)
            raise UsageError(
                f"a tensor of dtype {image.dtype} and shape {shape} is not an image", hint="pass float (3, H, W)"
            )
        if not torch.isfinite(image).all():
            raise UsageError("the tensor contains NaN or infinity", hint="pass values in -1..1")
        return Given(name, _encoded(to_picture(image.detach())), "tensor")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
            shape = image.shape
            raise UsageError(
                f"an array of dtype {image.dtype} and shape {shape} is not an image", hint="pass uint8 (H, W, 3)"
            )
        return Given(name, _encoded(Image.fromarray(np.ascontiguousarray(image))), "array")
    raise UsageError(
        f"{type(image).__name__} is not an image", hint="pass a path, a PIL image, a NumPy array or a torch tensor"
    )


def _encoded(image: Image.Image) -> bytes:
    """Return the bytes of a lossless file with the pixels, the colour profile and the orientation of an image."""
    body = io.BytesIO()
    format = "PNG" if image.mode in PNG_MODES else "TIFF"
    options: dict[str, Any] = {"compress_level": 0} if format == "PNG" else {}
    profile = image.info.get("icc_profile")
    if profile:
        options["icc_profile"] = profile
    try:
        image.save(body, format, exif=image.getexif(), **options)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"cannot read a PIL image of mode {image.mode} ({error})", hint="convert it to RGB") from None
    return body.getvalue()
