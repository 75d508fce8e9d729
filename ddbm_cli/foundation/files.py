"""Atomic writes: a file is either the old one or the complete new one, whatever interrupts the writing."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".ddbm-"
SUFFIX = ".tmp"
"""Temporary files are named `.ddbm-<random>.tmp`, next to the file that they become."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` when the block ends without an error.

    Args:
        path: the file to create or replace. Its folder must exist.

    Yields:
        The path to write to. It is removed when the block raises.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written, nothing can be removed
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, body: bytes, *, durable: bool = False) -> None:
    """Write a file atomically.

    Args:
        path: the file to create or replace. Its folder must exist.
        body: the complete content.
        durable: flush the file to the disk before it is renamed.

    Raises:
        OSError: the file cannot be written; `filename` is `path`.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(body)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a UTF-8 text file atomically, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"), durable=durable)
