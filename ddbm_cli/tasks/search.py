"""Finding files again by their content: the inputs and models of an output, by the digests in its record."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ddbm_cli.foundation.documents import read_json
from ddbm_cli.foundation.errors import DdbmError, ModelError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.imaging.io import IMAGE_EXTENSIONS
from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.models.layout import CARD
from ddbm_cli.models.load import digest_of
from ddbm_cli.models.pipeline import pipeline_digest
from ddbm_cli.registry.pipelines import is_pipeline_folder

MOST_ENTRIES = 50_000
"""Directory entries that are looked at, in all folders together."""

MOST_BYTES = 4 << 30
"""Bytes that are read to compute digests."""

ANCESTORS = 3
"""Folders above the output that are searched."""


class Search:
    """Searches folders, the nearest first, without following links to folders.

    Args:
        output: the file whose inputs are wanted; it is never found itself.
        folders: where to search; by default the working folder, and those around the output.
    """

    def __init__(self, output: Path, folders: Sequence[Path] = ()) -> None:
        self._output = output
        around = [output.absolute().parent, *output.absolute().parents[1 : ANCESTORS + 1]]
        top = Path(output.absolute().anchor)
        self.folders = list(folders) or [Path.cwd(), *(folder for folder in around if folder != top)]
        self._files = self._walk()
        self._seen: list[Path] = []
        self._bytes = MOST_BYTES

    def file(self, digest: str, name: str) -> Path | None:
        """Return the image with a digest, first among those with its name, then among all."""
        if not digest:
            return None
        stem = Path(name).stem
        same = self._first(digest, lambda file: file.stem == stem)
        return same or self._first(digest, lambda file: file.suffix.lower() in IMAGE_EXTENSIONS and file.stem != stem)

    def model(self, digest: str, name: str) -> Path | None:
        """Return the model with a digest, and a card with that name: a file, or a folder in diffusers' layout."""
        found = self._first(digest, lambda file: _card_name(file) == name)
        return found or next((folder for folder in self._model_folders() if _is_model(folder, digest, name)), None)

    def _model_folders(self) -> Iterator[Path]:
        for file in self._every():
            if file.name == CARD:
                yield file.parent
            elif file.name == "scheduler_config.json" and is_pipeline_folder(file.parents[1]):
                yield file.parents[1]

    def _first(self, digest: str, wanted: Callable[[Path], bool]) -> Path | None:
        return next((file for file in self._every() if wanted(file) and self._digest(file) == digest), None)

    def _digest(self, file: Path) -> str:
        try:
            self._bytes -= file.stat().st_size
            return sha256_of_file(file) if self._bytes >= 0 and not self._is_output(file) else ""
        except OSError:
            return ""

    def _is_output(self, file: Path) -> bool:
        return file.name == self._output.name and file.samefile(self._output)

    def _every(self) -> Iterator[Path]:
        """Yield all files; those of an earlier call from memory."""
        yield from list(self._seen)
        for file in self._files:
            self._seen.append(file)
            yield file

    def _walk(self) -> Iterator[Path]:
        entries, visited = 0, set()
        for root in self.folders:
            waiting = [root.resolve()]
            while waiting:
                folder = waiting.pop(0)
                if folder in visited:
                    continue
                visited.add(folder)
                for path, mode in _entries(folder):
                    entries += 1
                    if entries > MOST_ENTRIES:
                        return
                    if stat.S_ISDIR(mode):
                        waiting.append(path)
                    elif stat.S_ISREG(mode):
                        yield path


def _entries(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield what a folder contains with its mode, sorted by name, without hidden entries and links to folders."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only, a folder may be large
    except OSError:
        return
    for name in names:
        path = folder / name
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) and stat.S_ISREG(path.stat().st_mode):
                mode = path.stat().st_mode
        except OSError:
            continue
        if not name.startswith("."):
            yield path, mode


def _is_model(folder: Path, digest: str, name: str) -> bool:
    try:
        if is_pipeline_folder(folder):
            return folder.name == name and pipeline_digest(folder) == digest
        return bool(read_json(folder / CARD, hint="", error=ModelError)["name"] == name and digest_of(folder) == digest)
    except (DdbmError, OSError, LookupError, TypeError):
        return False


def _card_name(file: Path) -> str | None:
    if file.suffix != ".safetensors":
        return None
    try:
        return read_card(read_header(file), file=file.name).name
    except (DdbmError, OSError):
        return None
