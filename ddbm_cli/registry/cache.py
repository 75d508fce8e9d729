"""The part of the hub's cache that this program uses: what is in it, whether it is intact, and its removal.

The layout is that of the hub's library: blobs named by their etag, and links to them at each commit. Files that this
program did not download are never deleted; a damaged one is replaced when its download is complete.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.hashing import git_digest_of_file, sha256_of_file
from ddbm_cli.registry import records
from ddbm_cli.registry.entry import HubFile
from ddbm_cli.registry.hub_errors import explained
from ddbm_cli.registry.library import constants, repo_folder_name, try_to_load_from_cache, validate_repo_id
from ddbm_cli.registry.records import Record
from ddbm_cli.registry.reference import MAIN_FILE, SUFFIX, HubRepo, is_commit, pick

SHA256 = "[0-9a-f]{64}"


def cached(file: HubFile) -> Record | None:
    """Return the record of a file that is in the cache and intact, without network access; else None."""
    check_name(file)
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
        if here and (not agrees(path, here.sha256, etag) or (known and recorded and known.sha256 != here.sha256)):
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
    """A file of the cache, which may be damaged.

    wanted: the sha256 that it should have, "" where neither the registry nor a record nor the cache states one.
    recorded: the sha256 that it had when this program downloaded it, "" if it did not.
    """

    path: Path
    wanted: str
    recorded: str


def kept(file: HubFile) -> Kept | None:
    """Return the place of a file in the cache, without reading it; None if it is not there."""
    check_name(file)
    known = records.read(file.key)
    path = _in_cache(file, known)
    if path is None:
        return None
    etag = path.resolve().name
    recorded = known.sha256 if known and known.path == str(path) else ""
    wanted = file.sha256 or recorded or (etag if re.fullmatch(SHA256, etag) else "")
    return Kept(path=path, wanted=wanted, recorded=recorded)


def expected(file: HubFile) -> str:
    """Return the sha256 that a file must have: the registry's, else that of its first download; "" for any."""
    known = records.read(file.key) if file.fixed and not file.sha256 else None
    return known.sha256 if known else file.sha256


def model_file(repo: HubRepo) -> HubFile | None:
    """Return the model file of a repository if it is in the cache, else None."""
    any_file = HubFile(repo.repo, MAIN_FILE, repo.revision)
    check_name(any_file)
    try:
        ref = folder_of(any_file) / "refs" / repo.revision
        commit = ref.read_text(encoding="ascii") if ref.is_file() else repo.revision
        folder = _snapshots(any_file) / commit
        names = [each.name for each in sorted(folder.iterdir()) if each.suffix == SUFFIX and each.exists()]
    except (OSError, ValueError):  # not readable, or damaged
        return None
    if not names:
        return None
    return HubFile(repo.repo, pick(names, where=str(repo)), repo.revision, fixed=is_commit(repo.revision))


def remove(file: HubFile) -> int:
    """Remove a file from the cache; return the bytes freed. The digest of a fixed one stays recorded."""
    check_name(file)
    known = records.read(file.key)
    path = _in_cache(file, known)
    freed = 0
    if path is not None:
        blob, freed = path.resolve(), path.stat().st_size
        for each in _snapshots(file).glob("*"):
            same = each / file.file
            if same.exists() and same.resolve() == blob:
                discard(file, same)
    if known and file.fixed:
        records.forget_place(known)
    else:
        records.remove(file.key)
    return freed


def agrees(path: Path, sha256: str, etag: str) -> bool:
    """Return whether a file matches an etag: a sha256, or git's digest of a small file; others are not digests."""
    if re.fullmatch(SHA256, etag):
        return sha256 == etag
    if is_commit(etag):
        return git_digest_of_file(path) == etag
    return True


def is_intact(file: HubFile, blob: Path, etag: str) -> bool:
    """Return whether a file of the cache matches the etag, the registry and the record."""
    sha256, known = sha256_of_file(blob), records.read(file.key)
    recorded = known.sha256 if known and known.etag == etag else ""
    return agrees(blob, sha256, etag) and all(want in ("", sha256) for want in (expected(file), recorded))


def check_name(file: HubFile) -> None:
    """Check that a repository, revision and file are names that stay inside the cache.

    Raises:
        UsageError: the file or revision is not a relative path.
        ModelError: the repository is not "owner/name".
    """
    parts = (*file.file.split("/"), *file.revision.split("/"))
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise UsageError(f"{file}: not a path in a repository", hint="write org/repo@revision:folder/file")
    with explained(str(file), file.repo):
        validate_repo_id(file.repo)


def folder_of(file: HubFile) -> Path:
    """Return the folder of a file's repository in the cache."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=file.repo, repo_type="model")


def _snapshots(file: HubFile) -> Path:
    return folder_of(file) / "snapshots"


def _in_cache(file: HubFile, known: Record | None) -> Path | None:
    """Return the place of a file in the cache: at the recorded commit, else at the revision; else None."""
    for revision in ([known.commit] if known and known.commit else []) + [file.revision]:
        try:
            path = try_to_load_from_cache(file.repo, file.file, revision=revision, cache_dir=constants.HF_HUB_CACHE)
        except (OSError, ValueError):  # not readable, or damaged
            continue
        if isinstance(path, str):
            return Path(path)
    return None


def discard(file: HubFile, path: Path) -> None:
    """Remove a file of the cache, and its blob if nothing else in the repository's folder links to it."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    inside = blob.parent == (folder_of(file) / "blobs").resolve()
    if inside and not any(each.resolve() == blob for each in _snapshots(file).rglob("*") if each.is_symlink()):
        blob.unlink(missing_ok=True)


def link(blob: Path, pointer: Path) -> None:
    """Link a name to its blob, as the hub's library does; where links are not possible, move the blob."""
    if pointer.is_symlink() and pointer.resolve() == blob.resolve():
        return  # another process may be using it
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        blob.replace(pointer)


def point(refs: Path, revision: str, commit: str) -> None:
    """Record the commit of a branch, for the hub's library when it is offline."""
    if not is_commit(revision):
        file = refs / revision
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, commit)
