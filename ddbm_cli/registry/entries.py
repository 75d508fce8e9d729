"""The registry of models: the tables of `weights.toml`, one per model.

The package's own file comes first. A user's file, named by DDBM_WEIGHTS or called `weights.toml` in the working
folder, may add models but not replace packaged ones. A table that is wrong is skipped and reported. The user's tables
are checked when they are read, the package's by a test, so that listing models does not load pydantic.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import parse_toml
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
    for name, table in _tables(own, "reinstall ddbm-cli").items():
        registry[name] = _entry(own, name, table, packaged=True)
    user = user_registry()
    if user is not None:
        _add(registry, user)
    return registry


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
        return here if here.is_file() and not here.samefile(own_registry()) else None
    except OSError:  # the working folder was removed, or may not be entered
        return None


def _add(registry: Registry, path: Path) -> None:
    """Add the tables of the user's registry that are right."""
    named = bool(os.environ.get(VARIABLE))
    remedy = f"correct it, or unset {VARIABLE}" if named else "correct it, or rename the file"
    try:
        tables = _tables(path, remedy)
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


def _tables(path: Path, remedy: str) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise OSError("no such file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        return parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UsageError(f"{path}: not a readable registry ({reason})", hint=remedy) from None


def _entry(path: Path, name: str, table: dict[str, Any], *, packaged: bool = False) -> Entry:
    fingerprint = tuple(table.get("fingerprint", ()))
    return Entry(**{"name": name, "origin": path, **table, "fingerprint": fingerprint, "packaged": packaged})
