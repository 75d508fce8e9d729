"""The registry of models: tables of `weights.toml`, one for each model.

The package's own file comes first; a user's own is named by DDBM_WEIGHTS, or is the `weights.toml` of the working
folder. A later table replaces an earlier one of the same name. A user's tables are checked as they are read, the
package's by a test: so listing models needs no pydantic, which takes longer to load than all else.
"""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.registry.header import read_card_body

FILE_NAME = "weights.toml"
PACKAGE = Path(__file__).parent.parent

REPO = r"[\w.-]+/[\w.-]+"
COMMIT = r"[0-9a-f]{40}"
MAIN = "main"

BUILTIN = PACKAGE / "assets" / "sketch-to-3d-64.safetensors"
"""The model that is used when none is named."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the hub.

    revision: a branch, a tag or a commit. sha256: what the file must be, in hex, "" where that is not known.
    fixed: it is one file for good, so its first download is held against later ones; else the revision may move on.
    """

    repo: str
    file: str
    revision: str = MAIN
    sha256: str = ""
    fixed: bool = False

    def __str__(self) -> str:
        return f"{self.repo}{'' if self.revision == MAIN else f'@{self.revision}'}:{self.file}"

    @property
    def key(self) -> str:
        """The name of its record."""
        return f"{self.repo}@{self.revision}:{self.file}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model of the registry.

    name, task: as in its card. file: its path in the hub's repository, or in this package for a built-in one.
    repo, revision: the hub's repository, "owner/name", and a branch, tag or commit of it; no repo for a built-in one.
    url: where a file that is on no hub can be had, by other means, to be imported.
    size: of the file, in bytes, where known. sha256: in hex; "" where none is published: then the first download is
    recorded and held against later ones. parameters: how many numbers the network has, where known.
    licence, licence_source: words. importer: how to read a file that has no card; "" for a file of our own.
    card: for imported files, all of `ModelCard` that the file does not say. note: words, what could not be checked.
    fingerprint: numbers of the self-check when all was right, where recorded; see `models.selfcheck`.
    origin: the registry file that the entry stands in.
    """

    name: str
    task: str
    file: str
    repo: str = ""
    revision: str = MAIN
    url: str = ""
    size: int | None = None
    sha256: str = ""
    parameters: int | None = None
    licence: str = "not stated"
    licence_source: str = ""
    importer: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    fingerprint: tuple[float, ...] = ()
    builtin: bool = False
    origin: Path = PACKAGE / FILE_NAME

    @property
    def builtin_file(self) -> Path:
        """The file in this package."""
        return PACKAGE.parent / self.file

    @property
    def hub_file(self) -> HubFile:
        """The file on the hub.

        Raises:
            ModelError: it is on none.
        """
        if not self.repo:
            raise ModelError(
                f"model '{self.name}' is on no hub",
                hint=f"download {self.url} and: ddbm weights import {self.file} --like {self.name}",
            )
        return HubFile(self.repo, self.file, self.revision, self.sha256, fixed=True)

    @property
    def source(self) -> str:
        """Where it comes from, in a word."""
        return "this package" if self.builtin else self.repo or "by hand"

    @property
    def about_bytes(self) -> int | None:
        """The size of the file: as stated, else that of the network's numbers at 4 bytes each; None if unknown."""
        return self.size or (4 * self.parameters if self.parameters else None)

    def facts(self) -> dict[str, Any]:
        """Return the card as plain values: the registry's, or the one in the built-in file.

        Raises:
            ModelError: the built-in file is damaged.
        """
        return read_card_body(self.builtin_file) if self.builtin else self.card


def read_registry() -> dict[str, Entry]:
    """Return all models by name: the package's own, then the user's.

    Raises:
        UsageError: a registry file is not readable, or a table in it is not well formed.
    """
    entries: dict[str, Entry] = {}
    for path in registry_files():
        entries |= _read(path)
    return entries


def own_registry() -> Path:
    """Return the package's own registry: inside it when installed, beside it in a checkout."""
    inside = PACKAGE / FILE_NAME
    return inside if inside.exists() else PACKAGE.parent / FILE_NAME


def registry_files() -> list[Path]:
    """Return the registry files in force, the package's own first."""
    own, named, here = own_registry(), os.environ.get("DDBM_WEIGHTS"), Path.cwd() / FILE_NAME
    if named:
        return [own, Path(named)]
    return [own, here] if here.exists() and not here.samefile(own) else [own]


def _read(path: Path) -> dict[str, Entry]:
    own = path == own_registry()
    remedy = "mend it, or unset DDBM_WEIGHTS" if os.environ.get("DDBM_WEIGHTS") else "mend it, or rename it"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable registry ({error})", hint=remedy) from None
    if not own:
        from ddbm_cli.registry.checks import checked

        tables = {name: checked(path, name, table, remedy) for name, table in tables.items()}
    return {name: _entry(path, name, table) for name, table in tables.items()}


def _entry(path: Path, name: str, table: dict[str, Any]) -> Entry:
    fingerprint = tuple(table.get("fingerprint", ()))
    return Entry(**{"name": name, "origin": path, **table, "fingerprint": fingerprint})
