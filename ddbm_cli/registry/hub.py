"""Files of the hub: downloaded once into the hub's own cache, and used only after their digest was checked.

A file becomes part of the cache only when it is complete and its sha256 is the one that the hub announced (its etag)
and that the registry, or the record of the first download, requires. Files that this program did not download are
never deleted; a damaged one is replaced when its download is complete.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import Timeout
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock, validate_repo_id  # type: ignore[attr-defined]

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.registry import records
from ddbm_cli.registry.entry import HubFile
from ddbm_cli.registry.events import Noticed, Pulling
from ddbm_cli.registry.header import wrong_kind
from ddbm_cli.registry.hub_errors import AGAIN, OTHER, explained
from ddbm_cli.registry.records import Record
from ddbm_cli.registry.reference import MAIN_FILE, SUFFIX, HubRepo, is_commit, pick
from ddbm_cli.registry.transfer import PASSING, HTTPError, NotJSON, download, held, patiently, read_json

SHA256 = "[0-9a-f]{64}"


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What the hub says of a file: its commit, its etag (the sha256 of large files), its size in bytes."""

    commit: str
    etag: str
    size: int | None


def pull(file: HubFile, *, accept_change: bool = False) -> Generator[Pulling | Noticed, None, Record]:
    """Fetch a file unless it is here; return the record of the good file, whose `path` is in the hub's cache.

    A fixed file that is here costs no request; one of a branch costs one, and is used as it is where the hub is out of
    reach. What has come of a broken download is kept, and the next one goes on from there.

    Args:
        file: which.
        accept_change: take what the hub has now, whatever an earlier download was.

    Raises:
        ModelError: it cannot be had, or is not what it should be.
    """
    if accept_change:
        records.remove(file.key)
    here = cached(file)
    if here and file.fixed:
        return here
    with explained(str(file), file.repo):
        try:
            found = _ask(file)
        except HTTPError as error:
            if here and _is_passing(error):
                return here
            raise
        except OfflineModeIsEnabled:
            if here:
                return here
            raise
        if here and here.commit == found.commit:
            return here
        _see_that_it_is_wanted(file, found.etag, expected(file))
        return (yield from _fetch(file, found))


def cached(file: HubFile) -> Record | None:
    """Return the record of a file that is in the cache and good, without using the network; else None."""
    _see_that_it_is_safe(file)
    known = records.read(file.key)
    path = _in_cache(file, known)
    if path is None:
        return None
    recorded = known is not None and known.path == str(path)
    if known and recorded and known.stands():
        here: Record | None = known
    else:
        etag = path.resolve().name
        here = records.look(file.key, path, commit=path.relative_to(_snapshots(file)).parts[0], etag=etag)
        if here and (not _agrees(path, here.sha256, etag) or (known and recorded and known.sha256 != here.sha256)):
            return None
    want = expected(file)
    if here is None or (want and here.sha256 != want):
        return None
    if here is not known:
        with contextlib.suppress(OSError):  # then its digest is computed again the next time
            records.write(here)
    return here


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file of the cache, checked or not.

    wanted: the sha256 that it should have, "" where neither the registry nor a record nor the cache states one.
    recorded: the sha256 that it had when this program downloaded it, "" if it did not.
    """

    path: Path
    wanted: str
    recorded: str


def kept(file: HubFile) -> Kept | None:
    """Return where a file lies in the cache, without reading it; None if it does not."""
    _see_that_it_is_safe(file)
    known = records.read(file.key)
    path = _in_cache(file, known)
    if path is None:
        return None
    etag = path.resolve().name
    recorded = known.sha256 if known and known.path == str(path) else ""
    wanted = file.sha256 or recorded or (etag if re.fullmatch(SHA256, etag) else "")
    return Kept(path=path, wanted=wanted, recorded=recorded)


def expected(file: HubFile) -> str:
    """Return the sha256 that a file must have: the registry's, else a fixed one's first download; "" for any."""
    known = records.read(file.key) if file.fixed and not file.sha256 else None
    return known.sha256 if known else file.sha256


def missing(file: HubFile) -> int | None:
    """Return the bytes that a pull would fetch, None if the hub does not say; 0 is known without a request.

    Raises:
        ModelError: the file cannot be had.
    """
    if cached(file):
        return 0
    with explained(str(file), file.repo):
        found = _ask(file)
        _see_that_it_is_wanted(file, found.etag, expected(file))
        return None if found.size is None else found.size - held(_partial(file, found))


def model_file_here(repo: HubRepo) -> HubFile | None:
    """Return the model file of a repository as far as it is in the cache; None if none is."""
    any_file = HubFile(repo.repo, MAIN_FILE, repo.revision)
    _see_that_it_is_safe(any_file)
    ref = _folder(any_file) / "refs" / repo.revision
    commit = ref.read_text() if ref.is_file() else repo.revision
    names = [path.name for path in sorted((_snapshots(any_file) / commit).glob(f"*{SUFFIX}")) if path.exists()]
    if not names:
        return None
    return HubFile(repo.repo, pick(names, where=str(repo)), repo.revision, fixed=is_commit(repo.revision))


def model_file(repo: HubRepo) -> HubFile:
    """Return the model file of a repository: model.safetensors, or the only .safetensors file.

    Raises:
        ModelError: the hub is out of reach, or there is no such file, or several.
    """
    with explained(str(repo), repo.repo):
        url = f"{constants.ENDPOINT}/api/models/{repo.repo}/revision/{quote(repo.revision, safe='')}"
        names = _names(patiently(lambda: read_json(url)))
    return HubFile(repo.repo, pick(names, where=str(repo)), repo.revision, fixed=is_commit(repo.revision))


def _names(answer: dict[str, Any]) -> list[str]:
    """Return the names of a repository's files from the hub's answer."""
    listed = answer.get("siblings")
    if not isinstance(listed, list):
        raise NotJSON("answers without a list of files")
    names = [each.get("rfilename") for each in listed if isinstance(each, dict)]
    return [name for name in names if isinstance(name, str)]


def remove(file: HubFile) -> int:
    """Remove a file from the cache; return the bytes freed. The digest of a fixed one stays recorded."""
    _see_that_it_is_safe(file)
    known = records.read(file.key)
    path = _in_cache(file, known)
    freed = 0
    if path is not None:
        blob, freed = path.resolve(), path.stat().st_size
        for each in _snapshots(file).glob("*"):
            same = each / file.file
            if same.exists() and same.resolve() == blob:
                _discard(file, same)
    if known and file.fixed:
        records.forget_place(known)
    else:
        records.remove(file.key)
    return freed


def _ask(file: HubFile) -> Announced:
    url = hf_hub_url(file.repo, file.file, revision=file.revision)
    found = patiently(lambda: get_hf_file_metadata(url))
    # Both become names of files here, so a server may not choose them freely.
    if not is_commit(found.commit_hash or "") or not re.fullmatch(r"\w[\w.-]{0,127}", found.etag or ""):
        raise ModelError(f"{file}: {constants.ENDPOINT} does not answer as the hub does", hint=OTHER)
    return Announced(commit=str(found.commit_hash), etag=str(found.etag), size=found.size)


def _fetch(file: HubFile, found: Announced) -> Generator[Pulling | Noticed, None, Record]:
    """Bring a file into the cache; the order of steps is what keeps a bad one out of it."""
    folder = _folder(file)
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
        fresh = not blob.exists() or not _is_good(file, blob, found.etag)
        if fresh:
            partial = _partial(file, found)
            yield from _complete(file, found, partial)
            partial.replace(blob)
        _link(blob, pointer)
    _point(folder / "refs", file.revision, found.commit)
    here = records.look(file.key, pointer, commit=found.commit, etag=found.etag)
    if here is None:
        raise ModelError(f"{file}: disappeared after the download", hint=AGAIN)
    want = expected(file)
    if want and here.sha256 != want:  # an etag that is no digest could not tell before
        if fresh:
            _discard(file, pointer)
        raise _changed(file)
    records.write(here)
    return here


def _complete(file: HubFile, found: Announced, partial: Path) -> Generator[Pulling, None, None]:
    """Bring a partial file to the announced size and digest."""
    url = hf_hub_url(file.repo, file.file, revision=found.commit)
    free = shutil.disk_usage(partial.parent).free
    missing = (found.size or 0) - held(partial)
    if missing > free:
        raise ModelError(
            f"{file}: {missing:,} bytes to fetch, and {free:,} are free in {partial.parent.parent.parent}",
            hint="free some space, or set HF_HOME to another disk",
        )
    # What lay here may be of a bad download; so a second try begins with nothing.
    for _ in range(2):
        for done in download(url, partial, found.size):
            yield Pulling(file=str(file), done=done, total=found.size)
        if held(partial) == (found.size or held(partial)) and _agrees(partial, sha256_of_file(partial), found.etag):
            return
        begin = partial.open("rb").read(512) if partial.exists() else b""
        partial.unlink(missing_ok=True)
        kind = wrong_kind(begin)
    what = kind[0] if kind else "their digest is not the one that the hub announced"
    raise ModelError(
        f"{file}: wrong bytes: {what}; they were removed", hint="try again later, or set HF_ENDPOINT to another mirror"
    )


def _agrees(path: Path, sha256: str, etag: str) -> bool:
    """Return whether bytes are those of an etag: a sha256, or git's digest of a small file; others tell nothing."""
    if re.fullmatch(SHA256, etag):
        return sha256 == etag
    if is_commit(etag):
        git = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: git).hexdigest() == etag
    return True


def _is_good(file: HubFile, blob: Path, etag: str) -> bool:
    """Return whether bytes of the cache are those of the etag, of the registry and of the record."""
    sha256, known = sha256_of_file(blob), records.read(file.key)
    recorded = known.sha256 if known and known.etag == etag else ""
    return _agrees(blob, sha256, etag) and all(want in ("", sha256) for want in (expected(file), recorded))


def _see_that_it_is_wanted(file: HubFile, etag: str, want: str) -> None:
    """See before a download that it would be of the file that is wanted, where the etag can tell."""
    if want and re.fullmatch(SHA256, etag) and etag != want:
        raise _changed(file)


def _changed(file: HubFile) -> ModelError:
    if file.sha256:
        return ModelError(
            f"{file}: the hub has another file than the registry's sha256 says",
            hint="correct the sha256 in weights.toml if the new file is to be trusted",
        )
    return ModelError(
        f"{file}: the hub has another file than it had at the first download",
        hint="if it is to be trusted: ddbm weights pull --accept-change",
    )


def _see_that_it_is_safe(file: HubFile) -> None:
    parts = (*file.file.split("/"), *file.revision.split("/"))
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise UsageError(f"{file}: not a path in a repository", hint="write org/repo@revision:folder/file")
    with explained(str(file), file.repo):
        validate_repo_id(file.repo)


def _is_passing(error: Exception) -> bool:
    return not isinstance(error, HfHubHTTPError) or error.response.status_code in PASSING


def _folder(file: HubFile) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=file.repo, repo_type="model")


def _partial(file: HubFile, found: Announced) -> Path:
    """Return where a download grows: the etag in its name makes sure that it goes on with the same bytes."""
    return _folder(file) / "blobs" / f"{found.etag}.incomplete"


def _snapshots(file: HubFile) -> Path:
    return _folder(file) / "snapshots"


def _in_cache(file: HubFile, known: Record | None) -> Path | None:
    """Return where a file lies in the cache: at the recorded commit, else at the revision; None if it does not."""
    for revision in ([known.commit] if known and known.commit else []) + [file.revision]:
        path = try_to_load_from_cache(file.repo, file.file, revision=revision, cache_dir=constants.HF_HUB_CACHE)
        if isinstance(path, str):
            return Path(path)
    return None


def _discard(file: HubFile, path: Path) -> None:
    """Remove a file of the cache, and its bytes if no other name in the repository's folder has them."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    inside = blob.parent == (_folder(file) / "blobs").resolve()
    if inside and not any(each.resolve() == blob for each in _snapshots(file).rglob("*") if each.is_symlink()):
        blob.unlink(missing_ok=True)


def _link(blob: Path, pointer: Path) -> None:
    """Make a file of the cache known under its name, as the hub's library does; without links it lies there itself."""
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        blob.replace(pointer)


def _point(refs: Path, revision: str, commit: str) -> None:
    """Note which commit a branch is at, for the hub's library when it is offline."""
    if not is_commit(revision):
        file = refs / revision
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, commit)
