"""Opening images: any file of a folder is read safely.

Nothing is believed before it is checked: a file must be a regular one (a pipe would block), its size and the size that
its header declares have limits, and the bytes of decoded images are counted (`imaging.memory`).
"""

import contextlib
import io
import math
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.colours import to_srgb
from ddbm_cli.imaging.headers import webp_pixels
from ddbm_cli.imaging.memory import DECODED
from ddbm_cli.imaging.origin import KEY, read_origin
from ddbm_cli.imaging.writing import COMMENT_PREFIX
from ddbm_cli.imaging.writing import FORMATS as FORMATS
from ddbm_cli.imaging.writing import LOSSY as LOSSY
from ddbm_cli.imaging.writing import encode_picture as encode_picture
from ddbm_cli.imaging.writing import format_of as format_of
from ddbm_cli.imaging.writing import save_picture as save_picture
from ddbm_cli.imaging.writing import write_atomically as write_atomically

with contextlib.suppress(ImportError):  # HEIC, where its plug-in is installed
    from pillow_heif import register_heif_opener

    register_heif_opener()

warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged files it warns; what matters is an error here

# Formats with a magic number of their own. Pillow reads more, some of which take any text for an image, or start
# other programs.
Image.init()
_WANTED = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "PPM", "JPEG2000")
READABLE: list[str] = [name for name in _WANTED if name in Image.OPEN]
_WHAT_CAN_BE_READ = f"these formats can be read: {', '.join(READABLE)}"

IMAGE_EXTENSIONS = frozenset(
    {extension for extension, name in Image.registered_extensions().items() if name in READABLE}
)
"""What counts as an image in a folder, by the file's extension: everything that this Pillow can read."""

UNREADABLE_EXTENSIONS = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2", ".webp"}) - IMAGE_EXTENSIONS
"""Extensions of images that would need another Pillow, or a plug-in of it such as pillow-heif."""

MOST_BYTES = 2**28
"""Size of a file, at most; some are read at a time."""

MOST_PIXELS = 2 * 2**30 // 12
"""Pixels of an image, at most: 179 million, Pillow's own limit."""

MOST_COPIED = 2**26
"""Pixels of an image that may be copied a few times."""

LONGEST = 2**17
"""Pixels of a side, at most: resampling allocates memory in proportion to it."""

_BYTES_PER_PIXEL = 12
"""Memory of an image while it is decoded and converted: up to three copies of 4 bytes."""

# What Pillow's readers raise on damaged files.
_FAULTS: tuple[type[Exception], ...] = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError)
_FAULTS += (ArithmeticError, AssertionError, AttributeError, RuntimeError, struct.error, zlib.error)
_FAULTS += (Image.DecompressionBombError,)

_UNREADABLE: tuple[type[Exception], ...] = (*_FAULTS, ImageError, MemoryError)

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

_QUARTERS = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))
"""Turns that exchange width and height."""


class _TooLarge(Exception):
    """The header declares more pixels than are safe."""


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        ImageError: it is missing, cannot be read, is not a regular file, or is larger than `MOST_BYTES`.
    """
    try:
        with _open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise ImageError(
                    f"{path}: the file has {size / 2**20:.0f} MiB, the limit is {MOST_BYTES // 2**20} MiB",
                    hint="reduce the image first",
                )
            return file.read(MOST_BYTES)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file", hint="check the path") from None
    except PermissionError:
        raise ImageError(f"{path}: no permission to read it", hint="change its permissions") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})", hint="check the path") from None


def _open_regular(path: Path) -> BinaryIO:
    """Open a file for reading without blocking on pipes and devices.

    Raises:
        ImageError: it is a pipe, a socket, a device or a folder.
        OSError: it cannot be opened.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise ImageError(f"{path}: not a regular file", hint="pass a file; use - for standard input")
    return os.fdopen(number, "rb")


@contextlib.contextmanager
def opened(source: Path | BinaryIO | bytes, *, name: str | None = None) -> Iterator[Image.Image]:
    """Decode an image, and count its memory while the block runs: large images are decoded one at a time.

    Args:
        source: a file, an open stream, or the bytes of a file.
        name: what errors call it; the file's path by default.

    Yields:
        RGB, or RGBA if it has transparency: upright, 8 bits, sRGB; of an animation the first frame. Shrink it within
        the block and keep only the result. `imaging.origin.origin_of` returns facts about its file.

    Raises:
        ImageError: it is missing, empty, cut off, too large, or not an image.
    """
    name = name or (str(source) if isinstance(source, Path) else "standard input")
    if not isinstance(source, bytes):
        source = read_file(source) if isinstance(source, Path) else source.read(MOST_BYTES)
    if not source:
        raise ImageError(f"{name}: the file is empty", hint="save or download it again")
    with contextlib.ExitStack() as held:
        try:
            image = _decode(source, held)
        except (_TooLarge, Image.DecompressionBombError, MemoryError):
            hint = f"reduce it to at most {MOST_PIXELS // 10**6} million pixels, {LONGEST} per side"
            raise ImageError(f"{name}: too many pixels to be safe", hint=hint) from None
        except UnidentifiedImageError:
            raise ImageError(f"{name}: not an image, or of an unknown format", hint=_WHAT_CAN_BE_READ) from None
        except _FAULTS as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ImageError(f"{name}: damaged image ({reason})", hint="save or download it again") from None
        yield image


def open_picture(source: Path | BinaryIO | bytes, *, name: str | None = None) -> Image.Image:
    """Return an image as `opened` yields it; for small images."""
    with opened(source, name=name) as image:
        return image


def reduced(image: Image.Image) -> Image.Image:
    """Return a very large image at a fraction of its size, so that copies of it fit into memory; others unchanged."""
    factor = math.isqrt(image.width * image.height // MOST_COPIED)
    return image.reduce(factor + 1) if factor else image


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an upright image from its header, without decoding it.

    Raises:
        ImageError: as `opened`, as far as the header shows it.
    """
    try:
        with _open_regular(path) as file, Image.open(file, formats=READABLE) as found:
            _check_size(found)
            turned = turn_of(found) in _QUARTERS
            return (found.height, found.width) if turned else found.size
    except (_TooLarge, Image.DecompressionBombError, MemoryError):
        raise ImageError(f"{path}: too many pixels to be safe", hint="reduce it first") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not an image, or of an unknown format", hint=_WHAT_CAN_BE_READ) from None
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file", hint="check the path") from None
    except _FAULTS as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(f"{path}: damaged image ({reason})", hint="save or download it again") from None


def read_text(path: Path) -> dict[str, str]:
    """Return the facts that `encode_picture` put into a file; {} for a file without any, or that is not an image."""
    try:
        with _open_regular(path) as file, Image.open(file, formats=READABLE) as found:
            if found.format == "PNG":
                return {str(key): str(value) for key, value in found.info.items() if isinstance(value, str)}
            if found.format == "GIF":
                facts = parse_json(found.info.get("comment", b""))
                return {str(key): str(value) for key, value in facts.items()}
            exif = found.getexif()
            comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
            described = exif.get(ExifTags.Base.ImageDescription, "")
            facts = parse_json(comment.removeprefix(COMMENT_PREFIX) or described)
            return {str(key): str(value) for key, value in facts.items()}
    except _UNREADABLE:
        return {}


def _decode(body: bytes, held: contextlib.ExitStack) -> Image.Image:
    """Decode an image after its size is checked and its memory is claimed until `held` ends."""
    if webp_pixels(body) > MOST_PIXELS:
        raise _TooLarge
    with Image.open(io.BytesIO(body), formats=READABLE) as found:
        _check_size(found)
        held.enter_context(DECODED.hold(_BYTES_PER_PIXEL * found.width * found.height))
        found.load()
        origin = read_origin(found, _FAULTS)
        image = to_srgb(_upright(found), found.info.get("icc_profile"))
        image.info[KEY] = origin
        return image


def _check_size(found: Image.Image) -> None:
    if found.width * found.height > MOST_PIXELS or max(found.size) > LONGEST:
        raise _TooLarge


def _upright(image: Image.Image) -> Image.Image:
    """Undo the orientation that the camera recorded."""
    turn = turn_of(image)
    return image if turn is None else image.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return what undoes an image's EXIF orientation; None for nothing, or where the record is damaged."""
    try:
        return _TURNS.get(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))  # a PNG's own would decode it
    except _FAULTS:
        return None
