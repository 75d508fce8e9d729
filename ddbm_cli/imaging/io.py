"""Opening and saving pictures: whatever a user's folder holds comes in, and nothing half-written goes out."""

import io
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from ddbm_cli.errors import ImageError, UsageError

PICTURE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"})
"""What counts as a picture in a folder, by the file's name."""

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF"}
"""What can be written: the name users give, and Pillow's."""

_FORMAT_OF_EXTENSION = {"jpeg": "jpg", "tif": "tiff"}


def open_picture(source: Path | BinaryIO, *, name: str | None = None) -> Image.Image:
    """Return a picture as RGB, or RGBA if it has transparency: upright, 8 bits, in sRGB; of an animation the first frame.

    Args:
        source: a file, or an open stream.
        name: what errors call it; the file's name by default.

    Raises:
        ImageError: it is missing, empty, cut off, too large, or no picture at all.
    """
    name = name or (source.name if isinstance(source, Path) else "standard input")
    try:
        with Image.open(source) as opened:
            opened.load()
            picture = _to_srgb(_to_eight_bits(ImageOps.exif_transpose(opened)))
            return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: too many pixels to be safe", hint="make it smaller first") from None
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file", hint="check the path") from None
    except PermissionError:
        raise ImageError(f"{name}: no permission to read it", hint="change its permissions") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture, or one of an unknown format", hint=_WHAT_CAN_BE_READ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(f"{name}: damaged picture ({reason})", hint="save or download it anew") from None


_WHAT_CAN_BE_READ = "PNG, JPEG, WebP, TIFF, BMP, GIF and AVIF can be read"


def encode_picture(
    image: Image.Image, format: str, *, quality: int = 95, text: Mapping[str, str] | None = None
) -> bytes:
    """Return a picture as the bytes of a file.

    Args:
        image: RGB.
        format: one of FORMATS.
        quality: 1..100, for the formats that have one.
        text: facts to keep in the file: PNG text chunks, or one EXIF comment in the others.
    """
    stream = io.BytesIO()
    options: dict[str, object] = {}
    if format == "png":
        information = PngImagePlugin.PngInfo()
        for key, value in (text or {}).items():
            information.add_itxt(key, value)
        options["pnginfo"] = information
    else:
        options["quality"] = quality
        if text:
            exif = Image.Exif()
            exif[ExifTags.Base.ImageDescription] = "\n".join(f"{key}: {value}" for key, value in text.items())
            options["exif"] = exif.tobytes()
    if format == "tiff":
        del options["quality"]
        options["compression"] = "tiff_lzw"
    image.save(stream, FORMATS[format], **options)
    return stream.getvalue()


def read_text(path: Path) -> dict[str, str]:
    """Return the facts that `encode_picture` put into a file; nothing for a file without, or no picture."""
    try:
        with Image.open(path) as opened:
            if opened.format == "PNG":
                opened.load()
                return {str(key): str(value) for key, value in getattr(opened, "text", {}).items()}
            described = str(opened.getexif().get(ExifTags.Base.ImageDescription, ""))
    except (OSError, SyntaxError, ValueError, EOFError):
        return {}
    pairs = (line.partition(": ") for line in described.split("\n"))
    return {key: value for key, colon, value in pairs if colon}


def format_of(path: Path) -> str | None:
    """Return the format that a file's name asks for, None for one that cannot be written."""
    extension = path.suffix.lower().removeprefix(".")
    extension = _FORMAT_OF_EXTENSION.get(extension, extension)
    return extension if extension in FORMATS else None


def save_picture(
    image: Image.Image, path: Path, *, quality: int = 95, text: Mapping[str, str] | None = None
) -> None:
    """Write a picture in the format of its name, atomically: a file that exists is complete.

    Raises:
        UsageError: the name asks for a format that cannot be written.
        ImageError: the file cannot be written, for want of permission or space.
    """
    format = format_of(path)
    if format is None:
        raise UsageError(f"{path}: cannot write this format", hint=f"choose one of: {', '.join(FORMATS)}")
    write_atomically(path, encode_picture(image, format, quality=quality, text=text))


def write_atomically(path: Path, body: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one.

    Raises:
        ImageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(body)
        temporary.replace(path)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror})", hint="free some space, or choose another output"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale deeper grey pictures to 8 bits; Pillow's own conversion would clip them."""
    if picture.mode == "F":
        return Image.fromarray((np.asarray(picture).clip(0, 1) * 255).round().astype(np.uint8))
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
    return picture


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Convert the colours of a picture that brings a profile; a broken or unfitting profile is left aside."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return picture
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError):
        return picture
