"""Opening and saving pictures."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, PngImagePlugin

from ddbm_cli.errors import ImageError

PICTURE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"})


def open_picture(source: Path | BinaryIO) -> Image.Image:
    """Return an RGB or RGBA picture."""
    name = source.name if hasattr(source, "name") else "standard input"
    try:
        with Image.open(source) as opened:
            picture = ImageOps.exif_transpose(opened)
            return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: not a readable picture ({error})", hint="check or replace the file") from None


def save_picture(
    image: Image.Image, path: Path, *, format: str | None = None, quality: int = 95, text: Mapping[str, str] | None = None
) -> None:
    """Write a picture atomically."""
    information = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        information.add_text(key, value)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        image.save(temporary, format or Image.registered_extensions()[path.suffix.lower()], pnginfo=information)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
