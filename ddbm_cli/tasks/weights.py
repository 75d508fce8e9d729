"""Download, check and remove models; yields what happens.

Only a pull needs torch, to convert what it downloaded.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import DdbmError, ModelError, UsageError
from ddbm_cli.foundation.events import Pulled, Removed, SelfChecked, ToPull, Verified
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.registry import Entry, HubFile, Reference, cache, hub, locate, parse, read_registry
from ddbm_cli.registry.events import Noticed
from ddbm_cli.registry.pipelines import parts_here
from ddbm_cli.registry.reference import FOREIGN, SUFFIX, not_here
from ddbm_cli.tasks.events import Event, Failed, Finished

METRICS = "metrics"
"""The name of all feature networks that `ddbm evaluate` uses."""

WeightsEvent = Event | Pulled | ToPull | Verified | SelfChecked | Removed


def pull(names: list[str], *, accept_change: bool = False, dry_run: bool = False) -> Iterator[WeightsEvent]:
    """Download models, check them, and convert those without a card. Models that are complete are kept.

    A model that is not available is skipped and reported.

    Raises:
        ModelError: none of them is available.
    """
    began, done, kept, failed = time.monotonic(), 0, 0, 0
    for left, name in zip(range(len(names) - 1, -1, -1), names, strict=True):
        try:
            if name == METRICS:
                yield from _pull_metrics(dry_run=dry_run)
                kept += 1
                continue
            if dry_run:
                yield _to_pull(name, parse(name))
                kept += 1
                continue
            pulled = yield from _pull(name, accept_change=accept_change)
        except ModelError as error:
            if not (done or kept or left):
                raise
            failed += 1
            yield Failed(source=Path(name), message=error.message, hint=error.hint)
        else:
            done, kept = done + pulled.fresh, kept + (not pulled.fresh)
            yield pulled
    if not dry_run or failed:
        yield Finished(written=done, kept=kept, failed=failed, seconds=time.monotonic() - began, word="fetched")


def _pull_metrics(*, dry_run: bool) -> Iterator[WeightsEvent]:
    from ddbm_cli.metrics import weights

    for file in weights.ALL:
        if dry_run:
            yield ToPull(name=file.used_by, source=file.url, bytes=0 if file.good() else None, converts=False)
        else:
            yield Pulled(name=file.used_by, fresh=weights.fetch(file), path=file.path)


def path(name: str) -> Path:
    """Return the file of a downloaded model, without using the network.

    Raises:
        ModelError: it is not downloaded.
    """
    return locate.finish(locate.locating(name, convert=None))


def verify(names: list[str], *, check: bool = False) -> Iterator[WeightsEvent]:
    """Compute the digests of the models named, or of all downloaded models of the registry.

    A damaged file is removed if this program downloaded or converted it, so that it can be downloaded again. Built-in
    files and files that other programs downloaded are only reported.

    check: also run the self-check of each model.

    Raises:
        ModelError: a model that is named is not downloaded.
    """
    began, good, bad = time.monotonic(), 0, 0
    registry = read_registry()
    if not names:
        yield from (Noticed(message=problem.message, hint=problem.hint) for problem in registry.problems)
    for name, reference in [(name, parse(name)) for name in names] or list(registry.items()):
        if names:
            yield from locate.notices(reference)
        if check and isinstance(reference, Path):  # of which no digest is known
            yield _checked(name, reference, reference)
            good += 1
            continue
        try:
            files = list(_files(name, reference))
        except DdbmError as error:  # a table of the user's registry whose path is not valid
            if names:
                raise
            bad += 1
            yield Failed(source=Path(name), message=error.message, hint=error.hint)
            continue
        if names and not files:
            raise not_here(name)
        for file in files:
            try:
                yield file.verify()
                if check and file.path.suffix == SUFFIX:
                    yield _checked(name, file.path, reference)
                good += 1
            except ModelError as error:
                bad += 1
                yield Failed(source=Path(name), message=error.message, hint=error.hint)
    yield Finished(written=good, kept=0, failed=bad, seconds=time.monotonic() - began, word="good")


def _checked(name: str, path: Path, reference: Reference) -> SelfChecked:
    from ddbm_cli.models.selfcheck import check_file

    found = check_file(path, reference.fingerprint if isinstance(reference, Entry) else ())
    return SelfChecked(name=name, figures=found.figures, faults=found.faults, fingerprint=found.fingerprint)


def size(name: str) -> int:
    """Return the bytes on the disk of a model that may be removed.

    Raises:
        UsageError: it is built in, or a local file.
        ModelError: it is not downloaded.
    """
    files = list(_files(name, _removable(name)))
    if not files:
        raise ModelError(f"model '{name}' is not downloaded", hint="list the downloaded models: ddbm weights list")
    return sum(file.path.stat().st_size for file in files)


def remove(names: list[str]) -> Iterator[WeightsEvent]:
    """Remove models from the disk. They stay in the registry, and can be downloaded again."""
    for name in names:
        freed = sum(file.remove() for file in list(_files(name, _removable(name))))
        yield Removed(name=name, freed=freed)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file of a model.

    wanted: its sha256, "" if unknown; against: where that is stated. recorded: the sha256 that it had when this program
    downloaded or converted it, "" if it did not: then it is never removed by `verify`. hub: its place on the hub.
    """

    name: str
    path: Path
    wanted: str
    against: str
    recorded: str = ""
    builtin: bool = False
    hub: HubFile | None = None

    def verify(self) -> Verified:
        try:
            found = sha256_of_file(self.path)
        except OSError as error:
            raise ModelError(f"{self.path}: not readable ({error.strerror})", hint="check its permissions") from None
        if found == self.wanted:
            return Verified(name=self.name, path=self.path, sha256=found, against=self.against)
        message = f"{self.path}: damaged: its sha256 is not that of {self.against}"
        if self.builtin:
            raise ModelError(message, hint="reinstall it: pip install --force-reinstall ddbm-cli")
        if found == self.recorded:
            message = f"{self.path}: not the file of {self.against}; it is unchanged since its download"
            raise ModelError(message, hint=f"correct the sha256 in the registry, or: ddbm weights rm {self.name}")
        if not self.recorded:
            message = f"{message}; it was kept, because another program downloaded it"
            raise ModelError(message, hint=f"replace it: ddbm weights pull {self.name}")
        self.remove()
        raise ModelError(f"{message}; it was removed", hint=f"download it again: ddbm weights pull {self.name}")

    def remove(self) -> int:
        return cache.remove(self.hub) if self.hub else locate.forget_conversion(self.path)


def _files(name: str, reference: Reference) -> Iterator[_File]:
    """Find the files of a model that are on the disk."""
    if isinstance(reference, Path):
        raise UsageError(
            f"{name}: a local file, of which no digest is recorded", hint="specify a model of the registry"
        )
    if isinstance(reference, Entry) and reference.builtin:
        path = reference.builtin_file
        yield _File(name=name, path=path, wanted=reference.sha256, against="the registry", builtin=True)
        return
    if isinstance(reference, Entry) and not reference.repo:
        return
    if isinstance(reference, Entry) and reference.is_pipeline:
        files = parts_here(reference)
    else:
        files = [file for file in [locate.hub_file(reference, fetch=False)] if file]
    for file in files:
        kept = cache.kept(file)
        if kept:
            against = "the registry" if file.sha256 else "the first download" if kept.recorded else "the hub's cache"
            yield _File(
                name=name, path=kept.path, wanted=kept.wanted, against=against, recorded=kept.recorded, hub=file
            )
    for path in locate.conversions(reference) if isinstance(reference, Entry) else []:
        record = locate.conversion_record(path)
        sha256 = record.sha256 if record else ""
        yield _File(name=name, path=path, wanted=sha256, against="its conversion", recorded=sha256)


def _removable(name: str) -> Reference:
    found = parse(name)
    if isinstance(found, Entry) and found.builtin:
        raise UsageError(f"'{name}' is built in and is never removed", hint="specify a downloaded model")
    return found


def _pull(name: str, *, accept_change: bool) -> locate.Locating[Pulled]:
    found = parse(name)
    from ddbm_cli.models import locating

    if isinstance(found, Path):
        return Pulled(name=name, path=found, fresh=False)
    if isinstance(found, Entry) and found.builtin:
        (file,) = _files(name, found)
        return Pulled(name=name, path=file.verify().path, fresh=False)
    here = _glance(name)
    hub_file = locate.hub_file(found, fetch=True)
    assert hub_file is not None  # a repository without one is an error
    if accept_change or (hub_file.file.endswith(FOREIGN) and not isinstance(found, Entry)):
        record = yield from hub.pull(hub_file, accept_change=accept_change)
        if not isinstance(found, Entry):
            return Pulled(name=name, path=Path(record.path), fresh=here is None)
    place = yield from locating(name)
    return Pulled(name=name, path=place, fresh=here != place)


def _glance(name: str) -> Path | None:
    try:
        return path(name)
    except DdbmError:
        return None


def _to_pull(name: str, found: Reference) -> ToPull:
    if isinstance(found, Path) or (isinstance(found, Entry) and found.builtin):
        return ToPull(name=name, source="local", bytes=0, converts=False)
    file = locate.hub_file(found, fetch=True)
    assert file is not None  # a repository without one is an error
    if _glance(name):
        return ToPull(name=name, source=str(file), bytes=0, converts=False)
    if isinstance(found, Entry) and found.is_pipeline:  # the sizes of its parts are known when the index is here
        return ToPull(name=name, source=str(file), bytes=found.about_bytes, converts=False)
    converts = isinstance(found, Entry) and bool(found.importer)
    return ToPull(name=name, source=str(file), bytes=hub.missing(file), converts=converts)
