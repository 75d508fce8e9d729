"""Records of the files that were downloaded or converted: sha256, size and modification time.

While size and time of a file are the recorded ones, its digest is not computed again. Where no digest is published,
later downloads are compared with the digest of the first one.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ddbm_cli.foundation import hashing
from ddbm_cli.foundation.documents import read_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.registry.folders import data_folder

LARGEST = 2**16
"""Bytes of the largest record that is read."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One file that was intact.

    key: unique name: "org/repo@revision:file". path: the file.
    sha256: in hexadecimal. size, mtime_ns: of the file when the digest was computed; bytes, nanoseconds.
    commit, etag: as stated by the hub.
    """

    key: str
    path: str
    sha256: str
    size: int
    mtime_ns: int
    commit: str = ""
    etag: str = ""

    def stands(self) -> bool:
        """Return whether the file exists with the recorded size and time."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - follows the cache's links; `list` calls it for every model
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)

    def checked(self) -> "Record | None":
        """Return the record if the file is intact, else None; the digest is computed again if size or time changed."""
        if self.stands():
            return self
        found = look(self.key, Path(self.path), commit=self.commit, etag=self.etag)
        if found is None or found.sha256 != self.sha256:
            return None
        with contextlib.suppress(OSError):  # then it is computed again the next time
            write(found)
        return found


def look(key: str, path: Path, *, commit: str = "", etag: str = "") -> Record | None:
    """Return a new record of a file with its digest; None if it cannot be read."""
    try:
        found = path.stat()
        sha256 = sha256_of_file(path)
    except OSError:
        return None
    return Record(
        key=key,
        path=str(path),
        sha256=sha256,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        commit=commit,
        etag=etag,
    )


def read(key: str) -> Record | None:
    """Return the record of a key; None if there is none, or it cannot be read."""
    try:
        record = Record(**read_json(_file(key), hint="remove it", limit=LARGEST))
    except (UsageError, TypeError):
        return None
    return record if record.key == key else None


def write(record: Record) -> None:
    """Write a record; it replaces an earlier one of the same key.

    Raises:
        OSError: the data folder cannot be written.
    """
    file = _file(record.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(asdict(record), indent=1) + "\n")


def forget_place(record: Record) -> None:
    """Keep the digest of a file that was removed, so that the next download is compared with it."""
    write(replace(record, path="", size=0, mtime_ns=0))


def remove(key: str) -> None:
    """Remove a record, if there is one."""
    _file(key).unlink(missing_ok=True)


def _file(key: str) -> Path:
    return data_folder() / "files" / f"{hashing.sha256(key.encode())[:24]}.json"
