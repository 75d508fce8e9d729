"""The hub's library: the only module that imports it, so that wrong values of its variables are explained."""

from urllib.parse import urlsplit

from ddbm_cli.foundation.errors import UsageError

try:
    import huggingface_hub.constants  # noqa: F401 - first, for the others print what fails in it
    from huggingface_hub import (
        HfApi,
        constants,
        get_hf_file_metadata,
        get_session,
        get_token,
        hf_hub_url,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        WeakFileLock,
        build_hf_headers,
        disable_progress_bars,
        hf_raise_for_status,
        validate_repo_id,
    )

    urlsplit(constants.ENDPOINT)  # not every version of the library looks at it
except ValueError as error:  # it converts its variables when it is imported
    raise UsageError(
        f"a variable of the Hugging Face Hub has a wrong value ({error})",
        hint="check HF_ENDPOINT and the variables that begin with HF_HUB_",
    ) from None

__all__ = [
    "GatedRepoError",
    "HFValidationError",
    "HfApi",
    "HfHubHTTPError",
    "OfflineModeIsEnabled",
    "RemoteEntryNotFoundError",
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "WeakFileLock",
    "build_hf_headers",
    "constants",
    "disable_progress_bars",
    "get_hf_file_metadata",
    "get_session",
    "get_token",
    "hf_hub_url",
    "hf_raise_for_status",
    "repo_folder_name",
    "try_to_load_from_cache",
    "validate_repo_id",
]
