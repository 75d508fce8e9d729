"""A folder to a repository on the hub, as one commit."""

from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.registry.hub_errors import LOG_IN, explained
from ddbm_cli.registry.library import HfApi, constants, disable_progress_bars, get_token, validate_repo_id


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What went, or would go: files by their names in the repository, with their bytes; and where it is to be seen."""

    files: dict[str, int]
    url: str


def upload(folder: Path, repo: str, *, private: bool = True, dry_run: bool = False) -> Upload:
    """Put a folder's files into a repository, which is made if there is none.

    Args:
        folder: all that goes; hidden files stay.
        repo: "owner/name".
        private: for a new repository; one that is there keeps its own.
        dry_run: only say what would go.

    Raises:
        UsageError: the folder has no files.
        ModelError: no token, no right, no network.
    """
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if not files:
        raise UsageError(f"{folder}: no files to upload", hint="name a folder with a model")
    with explained(repo, repo):
        validate_repo_id(repo)
        url = f"{constants.ENDPOINT}/{repo}"
        if dry_run:
            return Upload(files=files, url=url)
        if not get_token():
            raise ModelError(f"{repo}: the hub takes uploads only from those it knows", hint=LOG_IN)
        hub = HfApi()
        with disable_progress_bars():
            made = hub.create_repo(repo, private=private, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=made.repo_id,
                folder_path=folder,
                allow_patterns=list(files),
                commit_message=f"Upload {len(files)} files with ddbm",
            )
        return Upload(files=files, url=commit.commit_url)
