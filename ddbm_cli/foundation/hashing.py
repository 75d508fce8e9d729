"""Digests of content, and seeds derived from words."""

import hashlib
from pathlib import Path


def sha256(body: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal, reading it in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seed_of(text: str) -> int:
    """Return a seed of 63 bits, the range of torch's generators, that depends on every character of `text`.

    Bytes of file names that are not UTF-8 are escaped.
    """
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()[:8], "big") >> 1
