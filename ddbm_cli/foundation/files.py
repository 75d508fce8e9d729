"""Atomic writes: a file is either the old one or the complete new one, whatever interrupts the writing."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".ddbm-"
SUFFIX = ".tmp"
"""Temporary files are named `.ddbm-<random>.tmp`, next to the file that they become."""

_LEFTOVER = re.compile(r"\.ddbm-[0-9a-f]{16}\.tmp|\.[a-z]+\.safetensors\.[0-9]+\.tmp")
"""Names of temporary files; the second form is that of releases before 0.3."""


def temporary_name() -> str:
    """Return a new name for a temporary file; its first eight digits are the number of this process."""
    return f"{PREFIX}{os.getpid():08x}{os.urandom(4).hex()}{SUFFIX}"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` when the block ends without an error.

    Args:
        path: the file to create or replace. Its folder must exist.

    Yields:
        The path to write to. It is removed when the block raises.

    Raises:
        OSError: the file cannot be written or renamed; `filename` is `path`.
    """
    temporary = path.with_name(temporary_name())
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # a full disk is reported without a name
            error.filename, error.filename2 = str(path), None
        raise
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
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(body)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_new(path: Path, body: bytes) -> bool:
    """Write a file atomically unless the path exists, and return whether it was written.

    Of several processes that write one path, one writes it. Where a file system has no hard links, the path is only
    checked before.

    Raises:
        OSError: the file cannot be written; `filename` is `path`.
    """
    temporary = path.with_name(temporary_name())
    try:
        temporary.write_bytes(body)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError:
            if path.exists() or path.is_symlink():
                return False
            temporary.replace(path)
        return True
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def second_name(file: Path, name: Path) -> bool:
    """Give a file a second name, atomically in place of what has it; return whether the file system can do that."""
    temporary = name.with_name(temporary_name())
    try:
        temporary.hardlink_to(file)
        temporary.replace(name)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):  # a name that is a link of the same file stays, and so does this one
            temporary.unlink(missing_ok=True)
    return True


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a UTF-8 text file atomically, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def remove_leftovers(folder: Path, *, exclusive: bool = True) -> int:
    """Remove the temporary files that a killed process left in a folder, and return their number.

    Files of other names, links and folders are never touched.

    Args:
        exclusive: no other process can be writing, as under the lock of a run. Otherwise the files of running
            processes are left alone.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not _LEFTOVER.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            if exclusive or not _is_running(entry.name):
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()
                    removed += 1
    return removed


def _is_running(name: str) -> bool:
    """Return whether the process that named a temporary file is running."""
    digits = name.removeprefix(PREFIX)[:8]
    if os.name == "nt":
        return True  # where signal 0 is not a question
    try:
        os.kill(int(digits, 16), 0)
    except PermissionError:
        return True  # a process of another user
    except (ValueError, OverflowError, OSError):
        return False
    return True
