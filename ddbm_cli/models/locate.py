"""From what a user writes after -m to a model file on the disk: fetched, checked and converted where that is needed.

A file without a card is converted once, into the cache of this program, under a name made of the digest of the file and
the card that the registry gives it: another file, or another card, makes another conversion.
"""

import hashlib
import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ddbm_cli.errors import ModelError
from ddbm_cli.registry import Entry, HubFile, parse, records
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.registry.reference import FOREIGN

if TYPE_CHECKING:
    from ddbm_cli.registry.hub import Pulling

T = TypeVar("T")

CONVERSION = 1
"""Version of the conversion; a higher one makes the files anew."""


@dataclass(frozen=True, kw_only=True)
class Importing:
    """A file is being converted, which takes a while; it is done once."""

    name: str


Locating = Generator["Pulling | Importing", None, T]


def builtin_path() -> Path:
    """Return the built-in model's file."""
    return Path(__file__).parent.parent / "assets" / "sketch-to-3d-64.safetensors"


def locate(reference: str | Path | None) -> Path:
    """Return the model file that a reference names, fetching and converting it if it is not here.

    Raises:
        ModelError: it cannot be had.
        UsageError: a registry file is not readable.
    """
    return finish(locating(reference))


def locating(reference: str | Path | None, *, fetch: bool = True) -> Locating[Path]:
    """Do what `locate` does, and yield what happens on the way.

    Args:
        reference: as a user writes it; None is the built-in model.
        fetch: False to go without the network and conversions: then a model that is not here is an error.
    """
    if reference is None:
        return builtin_path()
    if isinstance(reference, Path):
        return _with_card(reference)
    found = parse(reference)
    if isinstance(found, Path):
        return _with_card(found)
    if isinstance(found, Entry) and found.builtin:
        return found.builtin_file
    if isinstance(found, Entry):
        return (yield from _entry(found, fetch=fetch))
    from ddbm_cli.registry import hub

    if isinstance(found, HubFile):
        return (yield from _hub_file(found, fetch=fetch))
    file = hub.model_file_here(found) or (hub.model_file(found) if fetch else None)
    if file is None:
        raise _not_here(reference)
    return (yield from _hub_file(file, fetch=fetch))


def imported_path(entry: Entry, sha256: str) -> Path:
    """Return where the conversion of an entry's file is kept.

    Args:
        entry: gives the importer and the card.
        sha256: of the file that is converted.
    """
    facts = [CONVERSION, sha256, entry.name, entry.task, entry.licence, entry.importer, entry.card]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return cache_folder() / "imported" / f"{entry.name}-{key}.safetensors"


def imported_here(entry: Entry) -> records.Record | None:
    """Return the record of an entry's conversion if that is here and good. The file it was made of need not be."""
    known = entry.sha256 or getattr(records.read(entry.hub_file.key), "sha256", "")
    return imported_record(imported_path(entry, known)) if known else None


def imported_record(path: Path) -> records.Record | None:
    """Return the record of a conversion if it is there and good."""
    known = records.read(_key(path))
    return known.checked() if known else None


def finish(steps: Generator[object, None, T]) -> T:
    """Run a generator to its end, and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def _entry(entry: Entry, *, fetch: bool) -> Locating[Path]:
    if not entry.importer:
        return (yield from _hub_file(entry.hub_file, fetch=fetch, name=entry.name))
    here = imported_here(entry)
    if here:
        return Path(here.path)
    source = yield from _hub_file(entry.hub_file, fetch=fetch, name=entry.name, card=False)
    if not fetch:
        raise _not_here(entry.name)
    yield Importing(name=entry.name)
    known = records.read(entry.hub_file.key)
    return _import(source, imported_path(entry, known.sha256 if known else records.digest(source)), entry)


def _import(source: Path, output: Path, entry: Entry) -> Path:
    """Convert a file; the name of the output is given to it only when all went well."""
    from ddbm_cli.models.importers import import_file  # type: ignore[import,unused-ignore]

    temporary = output.with_name(f".{os.getpid()}-{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        import_file(source, temporary, entry)
        temporary.replace(output)
        record = records.look(_key(output), output)
        if record:
            records.write(record)
    except OSError as error:
        raise ModelError(
            f"{output}: cannot be written ({error.strerror or error})", hint="free some space, or set DDBM_HOME"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return output


def _hub_file(file: HubFile, *, fetch: bool, name: str = "", card: bool = True) -> Locating[Path]:
    from ddbm_cli.registry import hub

    if card:
        _with_card(Path(file.file), file=str(file))
    if fetch:
        return Path((yield from hub.pull(file)).path)
    here = hub.cached(file)
    if here is None:
        raise _not_here(name or str(file))
    return Path(here.path)


def _with_card(path: Path, file: str = "") -> Path:
    """Return the path, unless it is of a kind that never has a card."""
    if path.suffix in FOREIGN:
        raise ModelError(
            f"{file or path}: weights without a card", hint=f"ddbm weights import {file or path} --like NAME"
        )
    return path


def _not_here(name: str) -> ModelError:
    return ModelError(f"model '{name}' is not here", hint=f"ddbm weights pull {name}")


def _key(path: Path) -> str:
    return f"imported:{path.name}"
