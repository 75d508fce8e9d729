"""Upload of a folder to a repository on the hub, as one commit."""

from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.registry.hub_errors import LOG_IN, explained
from ddbm_cli.registry.library import HfApi, constants, disable_progress_bars, get_token, validate_repo_id


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What was uploaded, or would be. files: name in the repository -> bytes. url: the page of the commit."""

    files: dict[str, int]
    url: str


def upload(folder: Path, repo: str, *, private: bool = True, dry_run: bool = False) -> Upload:
    """Upload a folder's files to a repository, which is created if it does not exist.

    Args:
        folder: its files are uploaded, except hidden ones.
        repo: "owner/name".
        private: visibility of a new repository; that of an existing one is kept.
        dry_run: upload nothing.

    Raises:
        UsageError: the folder has no files.
        ModelError: there is no token, it gives no access, or the hub cannot be reached.
    """
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if not files:
        raise UsageError(f"{folder}: no files to upload", hint="specify a folder with a model")
    with explained(repo, repo):
        validate_repo_id(repo)
        url = f"{constants.ENDPOINT}/{repo}"
        if dry_run:
            return Upload(files=files, url=url)
        if not get_token():
            raise ModelError(f"{repo}: uploads need a token", hint=LOG_IN)
        hub = HfApi()
        with disable_progress_bars():
            created = hub.create_repo(repo, private=private, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=created.repo_id,
                folder_path=folder,
                allow_patterns=list(files),
                commit_message=f"Upload {len(files)} files with ddbm",
            )
        return Upload(files=files, url=commit.commit_url)
