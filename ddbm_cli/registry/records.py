"""What is known of each file that was fetched or converted: its sha256, and how it looked when that was computed.

A record serves twice. While size and time of the file are the recorded ones, its digest need not be computed again;
and where nobody publishes a digest, the first download's is what later ones are held against.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ddbm_cli.foundation import hashing
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.registry.folders import data_folder


@dataclass(frozen=True, kw_only=True)
class Record:
    """One file that was found to be good.

    key: what the file is, unique: "org/repo@revision:file". path: where it was.
    sha256: of its bytes, in hex. size, mtime_ns: of the file when that was computed; bytes, nanoseconds.
    commit, etag: what the hub said of it.
    """

    key: str
    path: str
    sha256: str
    size: int
    mtime_ns: int
    commit: str = ""
    etag: str = ""

    def stands(self) -> bool:
        """Return whether the file is there as it was, by size and time."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - follows the cache's links, and `list` asks it of every model
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)

    def checked(self) -> "Record | None":
        """Return the record if the file is good, computing its digest anew where it looks changed; else None."""
        if self.stands():
            return self
        seen = look(self.key, Path(self.path), commit=self.commit, etag=self.etag)
        if seen is None or seen.sha256 != self.sha256:
            return None
        with contextlib.suppress(OSError):  # then it is computed again the next time
            write(seen)
        return seen


def look(key: str, path: Path, *, commit: str = "", etag: str = "") -> Record | None:
    """Return the record of a file as it is now, digest and all; None if it cannot be read."""
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
    """Return what is recorded under a key; None for nothing, or nothing that can be read."""
    try:
        record = Record(**parse_json(_file(key).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.key == key else None


def write(record: Record) -> None:
    """Keep a record, in place of an earlier one of the same key.

    Raises:
        OSError: the data folder cannot be written.
    """
    file = _file(record.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(asdict(record), indent=1) + "\n")


def forget_place(record: Record) -> None:
    """Keep only what the file was: for one that was removed, so that the next download is held against it."""
    write(replace(record, path="", size=0, mtime_ns=0))


def remove(key: str) -> None:
    """Drop a record, if there is one."""
    _file(key).unlink(missing_ok=True)


def _file(key: str) -> Path:
    return data_folder() / "files" / f"{hashing.sha256(key.encode())[:24]}.json"
