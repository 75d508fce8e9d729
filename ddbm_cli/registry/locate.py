"""Where the file of a model is: downloaded and checked if it is missing, and converted if it has no card.

A file without a card is converted once, into the cache of this program. The name of the conversion is made of the
digest of the file and the card in the registry: another file, or another card, makes another conversion.
"""

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.files import replacing
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.registry import records
from ddbm_cli.registry.entries import read_registry
from ddbm_cli.registry.entry import BUILTIN, Entry, HubFile
from ddbm_cli.registry.events import Doubted, Importing, Noticed, Pulling
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.registry.records import Record
from ddbm_cli.registry.reference import FOREIGN, HubRepo, Reference, parse

T = TypeVar("T")

CONVERSION = 1
"""Version of the conversion; increase it to convert all files again."""

Locating = Generator[Pulling | Importing | Doubted | Noticed, None, T]

Convert = Callable[[Path, Path, Entry], Sequence[str]]
"""Makes a model file, the second, of one that has no card, the first; returns what looks wrong with it, in words."""


def locating(reference: str | Path | None, *, convert: Convert | None) -> Locating[Path]:
    """Return the model file that a reference names, and yield what happens on the way.

    Args:
        reference: as a user writes it; None is the built-in model, a Path a file.
        convert: for files without a card. None asks neither it nor the network: what is not here is an error.

    Raises:
        ModelError: the model cannot be had.
        UsageError: a registry file is not readable.
    """
    if reference is None:
        return BUILTIN
    found = parse(reference) if isinstance(reference, str) else reference
    yield from notices(found)
    if isinstance(found, Path):
        return _with_card(found)
    if isinstance(found, Entry) and found.builtin:
        return found.builtin_file
    name = str(reference)
    if isinstance(found, Entry) and found.importer:
        return (yield from _converted(found, name, convert))
    file = hub_file(found, fetch=convert is not None)
    if file is None:
        raise not_here(name)
    _with_card(Path(file.file), str(file))
    return Path((yield from _fetched(file, name, fetch=convert is not None)).path)


def notices(found: Reference) -> Generator[Noticed, None, None]:
    """Yield what a user should know of an entry: that it comes from another registry, or has a rival there."""
    if not isinstance(found, Entry):
        return
    if not found.packaged:
        yield Noticed(message=f"model '{found.name}' is defined by {found.origin}")
    elif problem := read_registry().problem_of(found.name):
        yield Noticed(message=problem.message, hint=problem.hint)


def hub_file(found: Entry | HubFile | HubRepo, *, fetch: bool) -> HubFile | None:
    """Return the file on the hub that is meant; for a repository, the one that is here, or that the hub lists."""
    if isinstance(found, Entry):
        return found.hub_file
    if isinstance(found, HubFile):
        return found
    from ddbm_cli.registry import cache, hub

    return cache.model_file(found) or (hub.model_file(found) if fetch else None)


def conversion(entry: Entry) -> Path | None:
    """Return where the conversion of an entry's file is, or would be; None while the file is not known."""
    if not entry.repo:
        return None
    known = records.read(entry.hub_file.key)
    digest = entry.sha256 or (known.sha256 if known else "")
    if not entry.importer or not digest:
        return None
    facts = [CONVERSION, digest, entry.name, entry.task, entry.licence, entry.importer, entry.card]
    key = sha256(json.dumps(facts, sort_keys=True, default=str).encode())[:16]
    return cache_folder() / "imported" / f"{entry.name}-{key}.safetensors"


def conversions(entry: Entry) -> list[Path]:
    """Return all conversions of an entry's file that are here, also those of an earlier file or card."""
    return sorted((cache_folder() / "imported").glob(f"{entry.name}-{'[0-9a-f]' * 16}.safetensors"))


def conversion_record(path: Path) -> Record | None:
    """Return what is recorded of a conversion."""
    return records.read(_key(path))


def forget_conversion(path: Path) -> int:
    """Remove a conversion; return the bytes freed."""
    freed = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    records.remove(_key(path))
    return freed


def at_a_glance(entry: Entry) -> str:
    """Return whether a model is here, by the records alone: "yes", "to convert" if only its download is, or ""."""
    if entry.builtin:
        return "yes"
    if not entry.repo:
        return ""
    download = records.read(entry.hub_file.key)
    if entry.importer:
        path = conversion(entry)
        record = conversion_record(path) if path else None
        if record and record.stands():
            return "yes"
    if download and download.stands():
        return "to convert" if entry.importer else "yes"
    return ""


def finish(steps: Generator[object, None, T]) -> T:
    """Run a generator to its end, and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def not_here(name: str) -> ModelError:
    """Return the error for a model that could be fetched, and was not."""
    return ModelError(f"model '{name}' is not downloaded", hint=f"run: ddbm weights pull {name}")


def _converted(entry: Entry, name: str, convert: Convert | None) -> Locating[Path]:
    download = entry.hub_file
    path = conversion(entry)
    record = conversion_record(path) if path else None
    if path and record and record.checked():  # what it was made of need not be here
        return path
    if convert is None:
        raise not_here(name)
    source = yield from _fetched(download, name, fetch=True)
    yield Importing(name=entry.name)
    path = conversion(entry)
    assert path is not None  # the download left a record
    for doubt in _convert(Path(source.path), path, entry, convert):
        yield Doubted(name=entry.name, text=doubt)
    return path


def _fetched(file: HubFile, name: str, *, fetch: bool) -> Locating[Record]:
    from ddbm_cli.registry import cache, hub

    here = (yield from hub.pull(file)) if fetch else cache.cached(file)
    if here is None:
        raise not_here(name)
    return here


def _convert(source: Path, output: Path, entry: Entry, convert: Convert) -> Sequence[str]:
    """Convert a file; the output gets its name only when all went well."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as temporary:
            doubts = convert(source, temporary, entry)
        record = records.look(_key(output), output)
        if record:
            records.write(record)
        return doubts
    except OSError as error:
        raise ModelError(
            f"{output}: cannot be written ({error.strerror or error})", hint="free some space, or set DDBM_HOME"
        ) from None


def _with_card(path: Path, file: str = "") -> Path:
    """Return the path, unless it is of a kind that never has a card."""
    if path.suffix in FOREIGN:
        raise ModelError(
            f"{file or path}: weights without a card", hint=f"ddbm weights import {file or path} --like NAME"
        )
    return path


def _key(path: Path) -> str:
    return f"imported:{path.name}"
