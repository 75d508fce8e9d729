"""Images that come as bytes from other machines: their size is checked before they are decoded."""

import io

from PIL import Image, UnidentifiedImageError

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.headers import webp_pixels
from ddbm_cli.imaging.io import READABLE


def check_pixels(body: bytes, *, name: str, most: int) -> None:
    """Check the number of pixels that the header of an image declares.

    Args:
        body: the bytes of a file; what is no image is left to `io.opened` to report.
        most: pixels, at most.

    Raises:
        ImageError: it declares more.
    """
    pixels = webp_pixels(body)
    try:
        if pixels <= most:
            with Image.open(io.BytesIO(body), formats=READABLE) as found:
                pixels = found.width * found.height
    except Image.DecompressionBombError:
        pixels = most + 1
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError):
        return
    if pixels > most:
        raise ImageError(
            f"{name}: more than {most / 1e6:g} million pixels", hint="reduce the image, or start with --max-pixels"
        )
