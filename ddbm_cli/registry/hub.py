"""Files of the hub: downloaded once into the hub's own cache, and used only after their digest was checked.

A file becomes part of the cache only when it is complete and its sha256 is the one that the hub announced (its etag)
and that the registry, or the record of the first download, requires.
"""

import contextlib
import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import Timeout

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.registry import cache, records
from ddbm_cli.registry.cache import SHA256
from ddbm_cli.registry.entry import HubFile
from ddbm_cli.registry.events import Noticed, Pulling
from ddbm_cli.registry.header import wrong_kind
from ddbm_cli.registry.hub_errors import AGAIN, OTHER, explained
from ddbm_cli.registry.library import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    WeakFileLock,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
)
from ddbm_cli.registry.records import Record
from ddbm_cli.registry.reference import HubRepo, is_commit, pick
from ddbm_cli.registry.transfer import TRANSIENT, HTTPError, NotJSON, ask, download, held, read_json


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What the hub states about a file: its commit, its etag (the sha256 of large files), its size in bytes."""

    commit: str
    etag: str
    size: int | None


def pull(file: HubFile, *, accept_change: bool = False) -> Generator[Pulling | Noticed, None, Record]:
    """Download a file if necessary; return the record of the intact file, whose `path` is in the hub's cache.

    A fixed file that is downloaded needs no request. A file of a branch needs one, and is used as it is if the hub
    cannot be reached. The bytes of an interrupted download are kept, and the next one resumes.

    Args:
        file: the file.
        accept_change: accept the hub's present file even if it differs from the first download.

    Raises:
        ModelError: the file is not available, or its digest is wrong.
    """
    if accept_change:
        records.remove(file.key)
    here = cache.cached(file)
    if here and file.fixed:
        return here
    with explained(str(file), file.repo):
        try:
            found = _ask(file)
        except (HTTPError, TimeoutError) as error:
            if here and _is_transient(error):
                return here
            raise
        except OfflineModeIsEnabled:
            if here:
                return here
            raise
        if here and here.commit == found.commit:
            return here
        _check_announced(file, found.etag)
        return (yield from _fetch(file, found))


def missing(file: HubFile) -> int | None:
    """Return the bytes that a pull would download, None if the hub does not state them; 0 needs no request.

    Raises:
        ModelError: the file is not available.
    """
    if cache.cached(file):
        return 0
    with explained(str(file), file.repo):
        found = _ask(file)
        _check_announced(file, found.etag)
        return None if found.size is None else found.size - held(_partial(file, found))


def model_file(repo: HubRepo) -> HubFile:
    """Return the model file of a repository: model.safetensors, or the only .safetensors file.

    Raises:
        ModelError: the hub cannot be reached, or there is no such file, or several.
    """
    with explained(str(repo), repo.repo):
        url = f"{constants.ENDPOINT}/api/models/{repo.repo}/revision/{quote(repo.revision, safe='')}"
        names = _names(ask(lambda: read_json(url)))
    return HubFile(repo.repo, pick(names, where=str(repo)), repo.revision, fixed=is_commit(repo.revision))


def _names(answer: dict[str, Any]) -> list[str]:
    """Return the names of a repository's files from the hub's answer."""
    listed = answer.get("siblings")
    if not isinstance(listed, list):
        raise NotJSON("answers without a list of files")
    names = [each.get("rfilename") for each in listed if isinstance(each, dict)]
    return [name for name in names if isinstance(name, str)]


def _ask(file: HubFile) -> Announced:
    url = hf_hub_url(file.repo, file.file, revision=file.revision)
    found = ask(lambda: get_hf_file_metadata(url))
    # Both become names of local files, so a server may not choose them freely.
    if not is_commit(found.commit_hash or "") or not re.fullmatch(r"\w[\w.-]{0,127}", found.etag or ""):
        raise ModelError(f"{file}: {constants.ENDPOINT} does not answer like the hub", hint=OTHER)
    return Announced(commit=str(found.commit_hash), etag=str(found.etag), size=found.size)


def _fetch(file: HubFile, found: Announced) -> Generator[Pulling | Noticed, None, Record]:
    """Download a file into the cache; the order of the steps keeps a damaged one out of it."""
    folder = cache.folder_of(file)
    blob = folder / "blobs" / found.etag
    pointer = folder / "snapshots" / found.commit / file.file
    for each in (blob, pointer):
        each.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / ".locks" / folder.name / f"{found.etag}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as locked:
        try:
            locked.enter_context(WeakFileLock(lock, timeout=0.1))
        except Timeout:
            yield Noticed(message=f"waiting for another process that downloads {file}")
            locked.enter_context(WeakFileLock(lock))
        fresh = not blob.exists() or not cache.is_intact(file, blob, found.etag)
        if fresh:
            partial = _partial(file, found)
            yield from _complete(file, found, partial)
            partial.replace(blob)
        cache.link(blob, pointer)
        cache.point(folder / "refs", file.revision, found.commit)
        here = records.look(file.key, pointer, commit=found.commit, etag=found.etag)
        if here is None:
            raise ModelError(f"{file}: disappeared after the download", hint=AGAIN)
        want = cache.expected(file)
        if want and here.sha256 != want:  # an etag that is no digest could not be compared before
            if fresh:
                cache.discard(file, pointer)
            raise _changed(file)
        records.write(here)
        return here


def _complete(file: HubFile, found: Announced, partial: Path) -> Generator[Pulling, None, None]:
    """Complete a partial file to the announced size, and check its digest."""
    url = hf_hub_url(file.repo, file.file, revision=found.commit)
    free = shutil.disk_usage(partial.parent).free
    missing = (found.size or 0) - held(partial)
    if missing > free:
        raise ModelError(
            f"{file}: {missing:,} bytes to download, but {free:,} are free in {partial.parent.parent.parent}",
            hint="free some space, or set HF_HOME to another disk",
        )
    # The kept bytes may be those of a damaged download; so the second try begins with nothing.
    for _ in range(2):
        for done in download(url, partial, found.size):
            yield Pulling(file=str(file), done=done, total=found.size)
        if held(partial) == (found.size or held(partial)) and cache.agrees(
            partial, sha256_of_file(partial), found.etag
        ):
            return
        begin = _begin_of(partial)
        partial.unlink(missing_ok=True)
        kind = wrong_kind(begin)
    what = kind[0] if kind else "their digest is not the one that the hub announced"
    raise ModelError(
        f"{file}: wrong bytes: {what}; the download was removed",
        hint="try again later, or set HF_ENDPOINT to another mirror",
    )


def _begin_of(partial: Path) -> bytes:
    if not partial.exists():
        return b""
    with partial.open("rb") as file:
        return file.read(512)


def _check_announced(file: HubFile, etag: str) -> None:
    """Compare the etag, where it is a digest, with the expected digest, before anything is downloaded."""
    want = cache.expected(file)
    if want and re.fullmatch(SHA256, etag) and etag != want:
        raise _changed(file)


def _changed(file: HubFile) -> ModelError:
    if file.sha256:
        return ModelError(
            f"{file}: the hub's file does not have the sha256 of the registry",
            hint="if you trust the new file, correct the sha256 in weights.toml",
        )
    return ModelError(
        f"{file}: the hub's file has changed since the first download",
        hint="if you trust the new file: ddbm weights pull --accept-change",
    )


def _is_transient(error: Exception) -> bool:
    return not isinstance(error, HfHubHTTPError) or error.response.status_code in TRANSIENT


def _partial(file: HubFile, found: Announced) -> Path:
    """Return the path of an incomplete download: the etag in its name makes sure that the same bytes are resumed."""
    return cache.folder_of(file) / "blobs" / f"{found.etag}.incomplete"
