"""Writing images: outputs are written completely or not at all, with text about how they were made."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.files import write_bytes, write_new
from ddbm_cli.imaging.deep import encode_png16
from ddbm_cli.imaging.origin import NOTHING, Origin, add_tags, srgb_profile

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF"}
"""What can be written: the name users give, and Pillow's."""

LOSSY = frozenset({"jpg", "webp", "avif"})
"""The formats that have a quality."""

_FORMAT_OF_EXTENSION = {"jpeg": "jpg", "jfif": "jpg", "jpe": "jpg", "tif": "tiff"}

COMMENT_PREFIX = b"ASCII\0\0\0"
"""How a comment in EXIF begins."""


def encode_picture(
    image: Image.Image,
    format: str,
    *,
    quality: int = 95,
    text: Mapping[str, str] | None = None,
    origin: Origin = NOTHING,
    deep: np.ndarray | None = None,
) -> bytes:
    """Return an image as the bytes of a file.

    Args:
        image: RGB, or RGBA, whose transparency jpg leaves out.
        format: one of FORMATS.
        quality: 1..100, for the formats that have one.
        text: facts to keep in the file: PNG text chunks, or JSON in the EXIF comment of the others.
        origin: what the file takes over; where its colours are managed, the file is marked as sRGB.
        deep: the same image with 16 bits, uint16 (H, W, 3 or 4), for png.

    Raises:
        ImageError: the format cannot hold the image, such as one of too many pixels.
    """
    exif = _exif(format, text, origin)
    options: dict[str, object] = {"exif": exif} if exif else {}
    if format == "png":
        information = options["pnginfo"] = PngImagePlugin.PngInfo()
        for key, value in (text or {}).items():
            information.add_itxt(key, value)
        if origin.managed:
            information.add(b"sRGB", b"\0")
        if deep is not None:
            more = [(b"eXIf", exif.removeprefix(b"Exif\0\0"))] if exif else []
            chunks = [(kind, body) for kind, body, *_ in information.chunks]
            return encode_png16(deep, [*sorted(chunks, key=lambda each: each[0] != b"sRGB"), *more])
    elif origin.managed:
        options["icc_profile"] = srgb_profile()
    if format in LOSSY:
        options["quality"] = quality
    if format == "jpg" and quality >= 90:
        options["subsampling"] = 0  # chroma subsampling is visible in small images
    if format == "tiff":
        options["compression"] = "tiff_lzw"
    stream = io.BytesIO()
    try:
        (image.convert("RGB") if format == "jpg" else image).save(stream, FORMATS[format], **options)
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(
            f"{image.width}x{image.height} pixels cannot be written as {format} ({error})", hint="use --format png"
        ) from None
    return stream.getvalue()


def _exif(format: str, text: Mapping[str, str] | None, origin: Origin) -> bytes:
    """Return the EXIF data of a file, empty for none."""
    exif = Image.Exif()
    add_tags(exif, origin.exif, nested=format != "tiff")
    if text and format == "tiff":  # libtiff cannot nest the directory that holds comments
        exif[ExifTags.Base.ImageDescription] = json.dumps(dict(text))
    elif text and format != "png":
        comment = COMMENT_PREFIX + json.dumps(dict(text)).encode()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif.tobytes() if origin.exif or (text and format != "png") else b""


def format_of(path: Path) -> str | None:
    """Return the format of a file's extension, None for one that cannot be written."""
    extension = path.suffix.lower().removeprefix(".")
    extension = _FORMAT_OF_EXTENSION.get(extension, extension)
    return extension if extension in FORMATS else None


def save_picture(
    image: Image.Image,
    path: Path,
    *,
    format: str | None = None,
    quality: int = 95,
    text: Mapping[str, str] | None = None,
) -> None:
    """Write an image atomically: a file that exists is complete.

    Args:
        image, quality, text: see `encode_picture`.
        path: its folder must exist.
        format: one of FORMATS; by default that of the path's extension.

    Raises:
        UsageError: the extension's format cannot be written.
        ImageError: the file cannot be written: no permission, or no space.
    """
    format = format or format_of(path)
    if format is None:
        raise UsageError(f"{path}: cannot write this format", hint=f"choose one of: {', '.join(FORMATS)}")
    write_atomically(path, encode_picture(image, format, quality=quality, text=text))


def save_in_folder(image: Image.Image, path: Path) -> None:
    """Write an image atomically; its folder is created.

    Raises:
        ImageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(image, path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error})", hint="check the folder and the disk") from None


def write_atomically(path: Path, body: bytes, *, replace: bool = True) -> bool:
    """Write a file so that it is either the old one or the complete new one, and return whether it was written.

    Args:
        replace: False to leave a file that exists.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        if not replace:
            return write_new(path, body)
        write_bytes(path, body)
        return True
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error})", hint="free some space, or choose another output"
        ) from None
