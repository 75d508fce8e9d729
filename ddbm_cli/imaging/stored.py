"""Images that are files of their own, or are stored inside other files; both are read in the same way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file
from ddbm_cli.imaging.io import MOST_BYTES, image_size, opened, read_file
from ddbm_cli.imaging.preprocess import Size


@dataclass(frozen=True)
class Stored:
    """An image inside another file. name: what it is called there. length: its bytes."""

    file: Path
    name: str
    length: int

    ordered = False
    """Whether reading in another order than that of the file is slow."""

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            ImageError: they cannot be read.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Slice(Stored):
    """Bytes at a place of a file."""

    offset: int = 0

    def read(self) -> bytes:
        if self.length > MOST_BYTES:
            raise ImageError(f"{self}: more than {MOST_BYTES // 2**20} MiB", hint="reduce the image first")
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset)
                body = file.read(self.length)
        except OSError as error:
            raise ImageError(f"{self}: cannot be read ({error.strerror})", hint="check the file") from None
        if len(body) < self.length:
            raise ImageError(f"{self}: the file ends within this image", hint="save or download it again")
        return body


ImageFile = Path | Stored
"""An image of training data."""


def bytes_of(file: ImageFile) -> bytes:
    """Return the bytes of an image.

    Raises:
        ImageError: they cannot be read.
    """
    return file.read() if isinstance(file, Stored) else read_file(file)


def length_of(file: ImageFile) -> int:
    """Return the number of its bytes.

    Raises:
        OSError: the file cannot be found.
    """
    return file.length if isinstance(file, Stored) else file.stat().st_size


def digest_of(file: ImageFile) -> str:
    """Return the SHA-256 of its bytes, in hexadecimal.

    Raises:
        OSError, ImageError: they cannot be read.
    """
    return sha256(file.read()) if isinstance(file, Stored) else sha256_of_file(file)


def size_of(file: ImageFile) -> Size:
    """Return (width, height) of an upright image; of a file without decoding it.

    Raises:
        ImageError: it cannot be read.
    """
    if isinstance(file, Path):
        return image_size(file)
    with open_image(file) as image:
        return image.size


@contextmanager
def open_image(file: ImageFile) -> Iterator[Image.Image]:
    """Decode an image, as `io.opened` does.

    Raises:
        ImageError: it cannot be read.
    """
    with opened(file.read() if isinstance(file, Stored) else file, name=str(file)) as image:
        yield image
