"""The registry of models: tables of `weights.toml`, one for each model.

The package's own file comes first; a user's own is named by DDBM_WEIGHTS, or is the `weights.toml` of the working
folder. A later table replaces an earlier one of the same name.
"""

import os
import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from ddbm_cli.errors import UsageError
from ddbm_cli.settings import settings

FILE_NAME = "weights.toml"
PACKAGE = Path(__file__).parent.parent


@settings
class Entry:
    """One model of the registry.

    name, task: as in its card. file: its path in the hub's repository, or in this package for a built-in one.
    repo, revision: the hub's repository, "owner/name", and a branch, tag or commit of it; no repo for a built-in one.
    size: of the file, in bytes, where known. sha256: in hex; "" where none is published: then what the hub says of the
    file at the first download is recorded and held against later ones.
    licence, licence_source: words. importer: how to read a file that has no card; "" for a file of our own.
    card: for imported files, all of `ModelCard` that the file does not say. note: words, what could not be checked.
    fingerprint: figures of the self-check after an import, where recorded.
    origin: the registry file that the entry stands in.
    """

    name: str
    task: str
    file: str
    repo: str = ""
    revision: str = "main"
    size: Annotated[int, Field(ge=1)] | None = None
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    licence: str = "not stated"
    licence_source: str = ""
    importer: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    fingerprint: dict[str, Any] = field(default_factory=dict)
    builtin: bool = False
    origin: Path = PACKAGE

    @property
    def builtin_file(self) -> Path:
        """The file in this package."""
        return PACKAGE.parent / self.file


def read_registry() -> dict[str, Entry]:
    """Return all models by name: the package's own, then the user's.

    Raises:
        UsageError: a registry file is not readable, or a table in it is not well formed.
    """
    entries: dict[str, Entry] = {}
    for path in _files():
        entries |= _read(path)
    return entries


def own_registry() -> Path:
    """Return the package's own registry: inside it when installed, beside it in a checkout."""
    inside = PACKAGE / FILE_NAME
    return inside if inside.exists() else PACKAGE.parent / FILE_NAME


def _files() -> list[Path]:
    named = os.environ.get("DDBM_WEIGHTS")
    if named:
        return [own_registry(), Path(named)]
    here = Path.cwd() / FILE_NAME
    return [own_registry(), here] if here.exists() and not here.samefile(own_registry()) else [own_registry()]


def _read(path: Path) -> dict[str, Entry]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable registry ({error})", hint="mend it, or unset DDBM_WEIGHTS") from None
    entries = {}
    for name, table in tables.items():
        try:
            entries[name] = pydantic.TypeAdapter(Entry).validate_python({"name": name, "origin": path, **table})
        except (pydantic.ValidationError, TypeError) as error:
            first = error.errors()[0] if isinstance(error, pydantic.ValidationError) else {"loc": (), "msg": str(error)}
            place = ".".join(str(part) for part in (name, *first["loc"]))
            raise UsageError(f"{path}: {place}: {first['msg']}", hint="see the tables of the package's own") from None
    return entries
