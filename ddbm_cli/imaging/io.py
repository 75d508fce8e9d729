"""Opening and saving pictures: whatever a user's folder holds comes in, and nothing half-written goes out."""

import io
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.files import write_bytes

PICTURE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"})
"""What counts as a picture in a folder, by the file's name."""

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF"}
"""What can be written: the name users give, and Pillow's."""

LOSSY = frozenset({"jpg", "webp", "avif"})
"""The formats that have a quality."""

_FORMAT_OF_EXTENSION = {"jpeg": "jpg", "tif": "tiff"}

# Formats with a magic number of their own. Pillow knows more, some of which take any text for a picture, or start
# other programs.
Image.init()
_WANTED = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM", "JPEG2000")
_READABLE: list[str] = [name for name in _WANTED if name in Image.OPEN]
_WHAT_CAN_BE_READ = "PNG, JPEG, WebP, TIFF, BMP, GIF and AVIF can be read"

# What Pillow's readers raise on damaged files.
_FAULTS: tuple[type[Exception], ...] = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError)
_FAULTS += (ArithmeticError, AttributeError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""

_COMMENT_PREFIX = b"ASCII\0\0\0"


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ImageError: it is missing, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file", hint="check the path") from None
    except PermissionError:
        raise ImageError(f"{path}: no permission to read it", hint="change its permissions") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})", hint="check the path") from None


def open_picture(source: Path | BinaryIO | bytes, *, name: str | None = None) -> Image.Image:
    """Return a picture as RGB, or RGBA if it has transparency: upright, 8 bits, sRGB; of an animation the first frame.

    Args:
        source: a file, an open stream, or the bytes of a file.
        name: what errors call it; the file's path by default.

    Raises:
        ImageError: it is missing, empty, cut off, too large, or no picture at all.
    """
    name = name or (str(source) if isinstance(source, Path) else "standard input")
    if not isinstance(source, bytes):
        source = read_file(source) if isinstance(source, Path) else source.read()
    if not source:
        raise ImageError(f"{name}: the file is empty", hint="save or download it anew")
    try:
        return _decode(source)
    except (Image.DecompressionBombError, MemoryError):
        raise ImageError(f"{name}: too many pixels to be safe", hint="make it smaller first") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture, or one of an unknown format", hint=_WHAT_CAN_BE_READ) from None
    except _FAULTS as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(f"{name}: damaged picture ({reason})", hint="save or download it anew") from None


def encode_picture(
    image: Image.Image, format: str, *, quality: int = 95, text: Mapping[str, str] | None = None
) -> bytes:
    """Return a picture as the bytes of a file.

    Args:
        image: RGB.
        format: one of FORMATS.
        quality: 1..100, for the formats that have one.
        text: facts to keep in the file: PNG text chunks, or JSON in the EXIF comment of the others.

    Raises:
        ImageError: the format cannot hold the picture, such as one of too many pixels.
    """
    options: dict[str, object] = {}
    if text and format == "png":
        information = PngImagePlugin.PngInfo()
        for key, value in text.items():
            information.add_itxt(key, value)
        options["pnginfo"] = information
    elif text:
        exif = Image.Exif()
        comment = json.dumps(dict(text))
        if format == "tiff":  # libtiff cannot nest the directory that holds comments
            exif[ExifTags.Base.ImageDescription] = comment
        else:
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _COMMENT_PREFIX + comment.encode()
        options["exif"] = exif.tobytes()
    if format in LOSSY:
        options["quality"] = quality
    if format == "jpg" and quality >= 90:
        options["subsampling"] = 0  # small pictures show the loss of colour at half the size
    if format == "tiff":
        options["compression"] = "tiff_lzw"
    stream = io.BytesIO()
    try:
        image.save(stream, FORMATS[format], **options)
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(
            f"{image.width}x{image.height} pixels cannot be written as {format} ({error})", hint="try --format png"
        ) from None
    return stream.getvalue()


def read_text(path: Path) -> dict[str, str]:
    """Return the facts that `encode_picture` put into a file; nothing for a file without, or no picture."""
    try:
        with Image.open(path, formats=_READABLE) as opened:
            if opened.format == "PNG":
                return {str(key): str(value) for key, value in opened.info.items() if isinstance(value, str)}
            exif = opened.getexif()
            comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
            described = exif.get(ExifTags.Base.ImageDescription, "")
            facts = json.loads(comment.removeprefix(_COMMENT_PREFIX) or described)
            return {str(key): str(value) for key, value in facts.items()}
    except _FAULTS:
        return {}


def format_of(path: Path) -> str | None:
    """Return the format that a file's name asks for, None for one that cannot be written."""
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
    """Write a picture atomically: a file that exists is complete.

    Args:
        image, quality, text: see `encode_picture`.
        path: its folder must exist.
        format: one of FORMATS; by default that of the path's name.

    Raises:
        UsageError: the name asks for a format that cannot be written.
        ImageError: the file cannot be written, for want of permission or space.
    """
    format = format or format_of(path)
    if format is None:
        raise UsageError(f"{path}: cannot write this format", hint=f"choose one of: {', '.join(FORMATS)}")
    write_atomically(path, encode_picture(image, format, quality=quality, text=text))


def write_atomically(path: Path, body: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        write_bytes(path, body)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error})", hint="free some space, or choose another output"
        ) from None


def _decode(body: bytes) -> Image.Image:
    with Image.open(io.BytesIO(body), formats=_READABLE) as opened:
        opened.load()
        profile = opened.info.get("icc_profile")
        picture = _to_eight_bits(_upright(opened))
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB") or "transparency" in picture.info:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return _to_srgb(picture, profile)


def _upright(picture: Image.Image) -> Image.Image:
    """Undo the orientation that the camera noted; a damaged note is left aside."""
    try:
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except _FAULTS:
        return picture
    return picture if turn is None else picture.transpose(turn)


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale deeper grey pictures to 8 bits; Pillow's own conversion would clip them.

    16 bits are divided by 257. Floating-point and 32-bit numbers have no agreed white: it is 1, 255 or 65,535, the
    lowest that no number exceeds; where there is none, or numbers are negative, their range is stretched.
    """
    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return picture
    values = np.nan_to_num(np.asarray(picture).astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    whites = (1, 255, 65535) if picture.mode == "F" else (65535,)
    white = next((white for white in whites if high <= white), None) if low >= 0 else None
    scaled = values * (255 / white) if white else (values - low) * (255 / ((high - low) or 1))
    grey = Image.fromarray(scaled.round().astype(np.uint8))
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return RGB or RGBA; colours are converted where the picture brings a profile that fits and is whole."""
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    colours = picture.convert(picture.mode.removesuffix("A")) if alpha else picture
    colours = _by_profile(colours, profile)
    if alpha:
        colours.putalpha(alpha)
    return colours


def _by_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    try:
        if picture.mode == "LAB":
            own = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return picture.convert("RGB")
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}.get(own.profile.xcolor_space.strip(), "")
        if mode == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        # Most profiles are sRGB's own; converting would only cost time and a level here and there.
        if mode == picture.mode and "sRGB" not in ImageCms.getProfileDescription(own):
            converted = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
            picture = converted or picture
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        pass
    return picture.convert("RGB")
