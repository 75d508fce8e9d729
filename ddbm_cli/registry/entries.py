"""The registry of models: the tables of `weights.toml`, one per model.

The package's own file comes first. A user's file, named by DDBM_WEIGHTS or called `weights.toml` in the working
folder, may add models but not replace packaged ones. A table that is wrong is skipped and reported. The user's tables
are checked when they are read, the package's by a test, so that listing models does not load pydantic.
"""

import contextlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import read_toml
from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.registry.entry import FILE_NAME, PACKAGE, Entry

VARIABLE = "DDBM_WEIGHTS"

LARGEST = 2**22
"""Bytes of the largest registry file that is read."""


@dataclass(frozen=True)
class Problem:
    """A table of the user's registry that was skipped, or "" and the whole file; why, and what to do."""

    name: str
    message: str
    hint: str


class Registry(dict[str, Entry]):
    """All models by name, the package's first; `problems` lists what was skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []

    def problem_of(self, name: str) -> Problem | None:
        """Return the problem of a table of that name, if it was skipped."""
        return next((each for each in self.problems if each.name == name), None)

    def skip(self, name: str, error: DdbmError) -> None:
        """Note that a table was skipped."""
        self.problems.append(Problem(name, error.message, error.hint))


def read_registry() -> Registry:
    """Return all models by name: the package's own, then the user's.

    Raises:
        UsageError: the file named by DDBM_WEIGHTS cannot be read.
    """
    registry = Registry()
    own = own_registry()
    for name, table in _own_tables(own).items():
        registry[name] = _entry(own, name, table, packaged=True)
    user = user_registry()
    if user is not None:
        _add(registry, user)
    return registry


def built_in() -> tuple[Entry, ...]:
    """Return the built-in models, which the package's own registry alone can name; it is read once."""
    return _built_in(own_registry())


@lru_cache(maxsize=1)
def _built_in(path: Path) -> tuple[Entry, ...]:
    entries = (_entry(path, name, table, packaged=True) for name, table in _own_tables(path).items())
    return tuple(entry for entry in entries if entry.builtin)


def alternatives(task: str) -> list[Entry]:
    """Return the built-in models that take the same kind of source as a task, and make something else of it.

    The kind is the first word: "sketch" of "sketch of a garment -> photo".
    """
    kind = task.partition(" ")[0]
    return [entry for entry in built_in() if entry.task != task and entry.task.partition(" ")[0] == kind]


def _own_tables(path: Path) -> dict[str, Any]:
    return read_toml(path, hint="reinstall ddbm-cli")


def own_registry() -> Path:
    """Return the package's own registry: inside the package when installed, next to it in a checkout."""
    inside = PACKAGE / FILE_NAME
    return inside if inside.exists() else PACKAGE.parent / FILE_NAME


def user_registry() -> Path | None:
    """Return the user's registry: the file that DDBM_WEIGHTS names, else weights.toml of the working folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    try:
        here = Path.cwd() / FILE_NAME
        if not os.path.lexists(here):
            return None
    except OSError:  # the working folder was removed
        return None
    with contextlib.suppress(OSError):  # a link to itself, or to nothing, is reported when it is read
        if here.samefile(own_registry()):
            return None
    return here


def _add(registry: Registry, path: Path) -> None:
    """Add the tables of the user's registry that are right."""
    named = bool(os.environ.get(VARIABLE))
    remedy = f"correct it, or unset {VARIABLE}" if named else "correct it, or rename the file"
    try:
        tables = read_toml(path, hint=remedy, limit=LARGEST)
    except UsageError as error:
        if named:
            raise
        registry.skip("", error)
        return
    from ddbm_cli.registry.schema import checked

    for name, table in tables.items():
        try:
            if name in registry:
                raise UsageError(
                    f"{path}: [{name}]: the name of a packaged model; the table is not used",
                    hint="choose another name for the table",
                )
            registry[name] = _entry(path, name, checked(path, name, table, remedy))
        except UsageError as error:
            registry.skip(name, error)


def _entry(path: Path, name: str, table: dict[str, Any], *, packaged: bool = False) -> Entry:
    fingerprint = tuple(table.get("fingerprint", ()))
    return Entry(**{"name": name, "origin": path, **table, "fingerprint": fingerprint, "packaged": packaged})
