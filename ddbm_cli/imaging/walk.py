"""One walk over folders for all commands: which files are images, and what is left out, by reason.

Hidden entries are skipped. Linked sub-folders are followed once, after the real ones, so that the names of files do
not depend on links; a link to a folder that contains it is not followed. A file is found by its extension and must be
a regular file: nothing is opened, so that pipes and devices never block. Folders that hold a training run, and the
outputs of the command itself, are never its inputs.
"""

import os
import stat
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import IMAGE_EXTENSIONS, UNREADABLE_EXTENSIONS

HIDDEN = "hidden"
OTHER = "not an image"
UNREADABLE = "format not readable here"
SPECIAL = "not a regular file"
TWIN = "same name as another but for the extension"
REPEATED = "folder reached twice"
OWN = "own output"
NOT_ENTERED = "sub-folder"
"""Reasons to leave an entry out."""

_UNNAMED = frozenset({HIDDEN, OTHER})
"""Reasons whose files are counted, but not named."""

SYSTEM_FOLDERS = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN", "__MACOSX", "@eaDir"})
"""Folders that operating systems create; they count as hidden."""

MANIFEST = "manifest.jsonl"
"""The list of outputs that `translate --manifest` keeps in an output folder; it is never an input, and not counted."""

_RUN_FILES = frozenset({"state.safetensors", "model.safetensors", "results.csv", "samples"})
"""A folder that holds config.json and one of these is a training run."""

NAMED = 3
"""Entries that are named per reason, at most."""

Identity = tuple[int, int]


class Skipped:
    """Counts of what was left out, by reason, with the first names of each. Its text is one line, "" for nothing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, name: PurePath | str) -> None:
        """Count one entry."""
        self.counts[reason] += 1
        names = self._names.setdefault(reason, [])
        if len(names) < NAMED:
            names.append(str(name))

    def update(self, other: "Skipped") -> None:
        """Add the counts of another walk."""
        self.counts.update(other.counts)
        for reason, names in other._names.items():
            mine = self._names.setdefault(reason, [])
            mine.extend(names[: NAMED - len(mine)])

    def names(self, reason: str) -> list[str]:
        """Return the first names that were left out for a reason."""
        return self._names.get(reason, [])

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __str__(self) -> str:
        return ", ".join(self._words(reason, count) for reason, count in sorted(self.counts.items()))

    def _words(self, reason: str, count: int) -> str:
        if reason in _UNNAMED:
            return f"{count} {reason}"
        more = ", ..." if count > len(self._names[reason]) else ""
        return f"{count} {reason} ({', '.join(self._names[reason])}{more})"


@dataclass(frozen=True)
class Problem:
    """An input that should be readable and is not: what is wrong, and what to do."""

    path: Path
    message: str
    hint: str


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    root: the folder. names: paths below it, sorted. skipped: what was left out.
    closed: sub-folders that cannot be opened. broken: links to missing images. links: linked sub-folders followed.
    """

    root: Path
    names: tuple[Path, ...]
    skipped: Skipped = field(default_factory=Skipped)
    closed: tuple[Problem, ...] = ()
    broken: tuple[Problem, ...] = ()
    links: int = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What should have been readable and is not."""
        return self.closed + self.broken

    def stems(self) -> dict[str, Path]:
        """Return the files by `stem_key`. Of files with equal keys the first is used; the others count as skipped."""
        files: dict[str, Path] = {}
        for name in self.names:
            key = stem_key(name)
            if key in files:
                self.skipped.add(TWIN, self.root / name)
            else:
                files[key] = self.root / name
        return files


def stem_key(name: PurePath | str) -> str:
    """Return the key by which files belong together: the path without its extension, in Unicode form NFC."""
    return unicodedata.normalize("NFC", PurePath(name).with_suffix("").as_posix())


def list_images(root: Path, *, recursive: bool = True, exclude: Iterable[Path] = ()) -> Listing:
    """List the images of a folder, without opening one.

    Args:
        root: the folder.
        recursive: search sub-folders too.
        exclude: files and folders that are never inputs, such as the outputs of the command.

    Raises:
        UsageError: the folder itself is missing or cannot be opened.
    """
    walk = _Walk(root, recursive, exclude)
    try:
        next(os.scandir(root), None)
    except OSError as error:
        raise UsageError(f"{root}: cannot open this folder ({error.strerror})", hint="check the path") from None
    walk.run()
    names = tuple(sorted(walk.names, key=lambda name: name.parts))
    return Listing(root, names, walk.skipped, tuple(walk.closed), tuple(walk.broken), walk.links)


def left_out(path: Path) -> str:
    """Return why a file is no input, "" for a regular file named like an image."""
    try:
        return _reason(path, path.stat().st_mode)
    except OSError:
        return _reason(path, stat.S_IFREG)  # opening it reports the error


def identity(path: Path) -> Identity | None:
    """Return what identifies a file or folder under any name or link; None if it does not exist."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return None
    return facts.st_dev, facts.st_ino


class _Walk:
    """The state of one walk."""

    def __init__(self, root: Path, recursive: bool, exclude: Iterable[Path]) -> None:
        self.names: list[Path] = []
        self.skipped = Skipped()
        self.closed: list[Problem] = []
        self.broken: list[Problem] = []
        self.links = 0
        self._root = root
        self._recursive = recursive
        self._own = {identity(path) for path in exclude} - {None}
        real = root.resolve()
        self._seen = {identity(folder) for folder in (real, *real.parents)}
        self._folders = deque([Path()])
        self._links: deque[Path] = deque()

    def run(self) -> None:
        while self._folders or self._links:
            if self._folders:
                self._enter(self._folders.popleft())
                continue
            link = self._links.popleft()
            if self._is_new(link):
                self.links += 1
                self._enter(link)

    def _is_new(self, name: Path) -> bool:
        mark = identity(self._root / name)
        if mark in self._seen:
            self.skipped.add(REPEATED, self._root / name)
            return False
        self._seen.add(mark)
        return True

    def _enter(self, below: Path) -> None:
        folder = self._root / below
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            names = {entry.name for entry in found}
            if below.parts and "config.json" in names and names & _RUN_FILES:
                self.skipped.add(OWN, folder)
                return
            for entry in found:
                self._sort(entry, below / entry.name)
        except OSError as error:
            hint = "change its permissions, or move it elsewhere"
            self.closed.append(Problem(folder, f"{folder}: cannot open this folder ({error.strerror})", hint))

    def _sort(self, entry: "os.DirEntry[str]", name: Path) -> None:
        path = self._root / name
        if entry.name == MANIFEST:
            return
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            self.skipped.add(HIDDEN, path)
            return
        try:
            facts = path.stat()
        except PermissionError:
            if not entry.is_symlink():
                raise  # the folder can be listed, but not entered
            self._miss(path, "no permission to read it")
            return
        except OSError as error:
            self._miss(path, "the link leads nowhere" if entry.is_symlink() else str(error.strerror))
            return
        if (facts.st_dev, facts.st_ino) in self._own:
            self.skipped.add(OWN, path)
        elif stat.S_ISDIR(facts.st_mode):
            self._meet(entry, name)
        elif reason := _reason(path, facts.st_mode):
            self.skipped.add(reason, path)
        else:
            self.names.append(name)

    def _meet(self, entry: "os.DirEntry[str]", name: Path) -> None:
        """Queue a sub-folder."""
        if not self._recursive:
            self.skipped.add(NOT_ENTERED, self._root / name)
        elif entry.is_symlink():
            self._links.append(name)
        elif self._is_new(name):
            self._folders.append(name)

    def _miss(self, path: Path, why: str) -> None:
        if path.suffix.lower() in IMAGE_EXTENSIONS:
            self.broken.append(Problem(path, f"{path}: no such file ({why})", "correct or remove the link"))
        else:
            self.skipped.add(OTHER, path)


def _reason(path: Path, mode: int) -> str:
    suffix = path.suffix.lower()
    if suffix not in IMAGE_EXTENSIONS:
        return UNREADABLE if suffix in UNREADABLE_EXTENSIONS else OTHER
    return "" if stat.S_ISREG(mode) else SPECIAL
