"""Where the file of a model is: downloaded and checked if it is missing, and converted if it has no card.

A file without a card is converted once, into the cache of this program. The name of the conversion contains a
digest of the file and of the card in the registry, so that a change of either makes a new conversion.
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
from ddbm_cli.registry.events import Doubted, Importing, Noticed
from ddbm_cli.registry.events import Locating as Locating
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.registry.pipelines import locating_parts
from ddbm_cli.registry.records import Record
from ddbm_cli.registry.reference import FOREIGN, HubRepo, Reference, not_here, parse

T = TypeVar("T")

CONVERSION = 1
"""Version of the conversion; increase it to convert all files again."""

Convert = Callable[[Path, Path, Entry], Sequence[str]]
"""Convert a file without a card, the first, to a model file, the second; return the faults of the self-check."""


def locating(reference: str | Path | None, *, convert: Convert | None) -> Locating[Path]:
    """Return the model file of a reference, or a pipeline's folder; yield the events of its download and conversion.

    Args:
        reference: as a user writes it; None is the default model, a Path a file.
        convert: for files without a card. None uses neither conversions nor the network: then a model that is
            not downloaded is an error.

    Raises:
        ModelError: the model is not available.
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
    if isinstance(found, Entry) and found.is_pipeline:
        return (yield from locating_parts(found.hub_file, name, fetch=convert is not None))
    if isinstance(found, Entry) and found.importer:
        return (yield from _converted(found, name, convert))
    file = hub_file(found, fetch=convert is not None)
    if file is None:
        raise not_here(name)
    _with_card(Path(file.file), str(file))
    return Path((yield from _fetched(file, name, fetch=convert is not None)).path)


def notices(found: Reference) -> Generator[Noticed, None, None]:
    """Yield a note if an entry comes from the user's registry, or if a table of that name was skipped there."""
    if not isinstance(found, Entry):
        return
    if not found.packaged:
        yield Noticed(message=f"model '{found.name}' is defined by {found.origin}")
    elif problem := read_registry().problem_of(found.name):
        yield Noticed(message=problem.message, hint=problem.hint)


def hub_file(found: Entry | HubFile | HubRepo, *, fetch: bool) -> HubFile | None:
    """Return the file on the hub of a reference; of a repository, its model file in the cache, else the one listed."""
    if isinstance(found, Entry):
        return found.hub_file
    if isinstance(found, HubFile):
        return found
    from ddbm_cli.registry import cache, hub

    return cache.model_file(found) or (hub.model_file(found) if fetch else None)


def conversion(entry: Entry) -> Path | None:
    """Return the path of the conversion of an entry's file, which may not exist; None while its digest is unknown."""
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
    """Return all conversions of an entry's file on the disk, including those of earlier files and cards."""
    return sorted((cache_folder() / "imported").glob(f"{entry.name}-{'[0-9a-f]' * 16}.safetensors"))


def conversion_record(path: Path) -> Record | None:
    """Return the record of a conversion, None if there is none."""
    return records.read(_key(path))


def forget_conversion(path: Path) -> int:
    """Remove a conversion; return the bytes freed."""
    freed = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    records.remove(_key(path))
    return freed


def at_a_glance(entry: Entry) -> str:
    """Return whether a model is downloaded, from the records alone: "yes", "to convert", or "" for no."""
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
    """Run a generator to its end, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def _converted(entry: Entry, name: str, convert: Convert | None) -> Locating[Path]:
    download = entry.hub_file
    path = conversion(entry)
    record = conversion_record(path) if path else None
    if path and record and record.checked():  # the file that was converted is not needed any more
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
    """Convert a file; the output exists only if the conversion succeeds."""
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
    """Return the path, unless files of its suffix never have a card."""
    if path.suffix in FOREIGN:
        raise ModelError(
            f"{file or path}: weights without a card", hint=f"ddbm weights import {file or path} --like NAME"
        )
    return path


def _key(path: Path) -> str:
    return f"imported:{path.name}"
