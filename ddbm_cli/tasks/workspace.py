"""The unfinished work of a comparison, in a hidden folder next to its first output.

A stopped comparison resumes from it. Each method's images are in a folder that one process at a time uses, so two
comparisons with one output do not disturb each other. The folder also records which outputs were already written, so
that a comparison that was stopped between two outputs can write them again.
"""

import itertools
import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ddbm_cli.foundation import files
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file

RECORD = "outputs.json"
LARGEST_RECORD = 2**20
"""Bytes of a record file that is read; a larger one is not ours."""


def read_small_json(path: Path) -> object:
    """Return the content of a small JSON file, None if it is missing, damaged, too large or too deep."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_RECORD:
            return None
        return parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None


class Workspace:
    """The folder of unfinished work.

    Args:
        output: the first output of the comparison; missing folders above it are created.
        identity: text that is equal for equal commands.

    Raises:
        UsageError: the folder cannot be created.
    """

    def __init__(self, output: Path, identity: str) -> None:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", output.name)[:40]
        name = sha256(output.name.encode("utf-8", "surrogateescape"))[:8]
        self.folder = output.with_name(f".ddbm-{stem}-{name}")
        self._identity = sha256(identity.encode("utf-8", "backslashreplace"))
        self._claimed: list[tuple[Path, FileLock]] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{output}: cannot be written ({error.strerror or error})",
                hint="choose another output, or change the folder's permissions",
            ) from None

    def claim(self, key: str) -> Path:
        """Return a folder of this key that no other process uses, with the images that a stopped process left."""
        for number in itertools.count(1):
            folder = self.folder / (key if number == 1 else f"{key}-{number}")
            lock = FileLock(f"{folder}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            if not Path(lock.lock_file).exists():  # another process finished and removed it in between
                lock.release()
                continue
            self._claimed.append((folder, lock))
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        raise AssertionError("unreachable")

    def wrote(self, output: Path) -> bool:
        """Return whether this command wrote an output before it was stopped, and it is unchanged since."""
        known = self._record().get(str(output.absolute()), [])
        try:
            return bool(known) and sha256_of_file(output) in known
        except OSError:
            return False

    def will_write(self, output: Path, body: bytes) -> None:
        """Record what an output is about to contain."""
        record = self._record()
        record.setdefault(str(output.absolute()), []).append(sha256(body))
        content = {"command": self._identity, "outputs": record}
        with suppress(OSError):
            files.write_text(self.folder / RECORD, json.dumps(content))

    def _record(self) -> dict[str, list[str]]:
        found = read_small_json(self.folder / RECORD)
        if not isinstance(found, dict) or found.get("command") != self._identity:
            return {}
        outputs = found.get("outputs")
        if not isinstance(outputs, dict):
            return {}
        return {name: [str(each) for each in known] for name, known in outputs.items() if isinstance(known, list)}

    def release(self) -> None:
        """Let other processes use the folders; the images stay."""
        for _, lock in self._claimed:
            lock.release()
        self._claimed.clear()
        with suppress(OSError):  # it holds unfinished work
            self.folder.rmdir()

    def remove(self) -> None:
        """Remove what this process claimed, and the folder where nothing else is in it."""
        for folder, lock in self._claimed:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                Path(lock.lock_file).unlink()
        if self._record():
            with suppress(OSError):
                (self.folder / RECORD).unlink()
        self.release()
