"""Digests of content, and seeds derived from words."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256(body: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return sha256_of_parts([body])


def sha256_of_parts(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of bytes that come in parts, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal, reading it in blocks.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_digest_of_file(path: Path) -> str:
    """Return the SHA-1 by which git names a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def number_of(text: str, *, errors: str = "backslashreplace") -> int:
    """Return a number of 64 bits that depends on every character of `text`.

    errors: how bytes of file names that are not UTF-8 are encoded.
    """
    return int(sha256(text.encode("utf-8", errors))[:16], 16)


def seed_of(text: str) -> int:
    """Return a seed of 63 bits, the range of torch's generators, that depends on every character of `text`.

    Bytes of file names that are not UTF-8 are escaped.
    """
    return number_of(text) >> 1
