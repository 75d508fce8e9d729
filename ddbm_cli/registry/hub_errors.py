"""The hub's errors in two lines: what is wrong, and what to do about it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.transfer import HTTPError

LOG_IN = "set HF_TOKEN, or: hf auth login"
AGAIN = "give the same command again: what has come is kept"


@contextmanager
def explained(what: str, repo: str) -> Iterator[None]:
    """Turn any error of the hub, the network or the disk into a ModelError about `what`."""
    try:
        yield
    except HFValidationError:
        raise ModelError(f"{what}: no name of a repository", hint="write it as org/repo") from None
    except GatedRepoError:
        raise ModelError(
            f"{what}: its owner lets in only those who asked", hint=f"ask at {constants.ENDPOINT}/{repo}, then {LOG_IN}"
        ) from None
    except RepositoryNotFoundError:
        raise _not_found(what, repo) from None
    except RevisionNotFoundError:
        raise ModelError(f"{what}: no such revision there", hint="leave out @revision, or check it") from None
    except RemoteEntryNotFoundError:
        raise ModelError(
            f"{what}: the repository has no such file", hint=f"see its files at {constants.ENDPOINT}/{repo}/tree/main"
        ) from None
    except OfflineModeIsEnabled:
        raise ModelError(
            f"{what}: not here, and HF_HUB_OFFLINE forbids to fetch it", hint="unset HF_HUB_OFFLINE, and pull it once"
        ) from None
    except HfHubHTTPError as error:
        raise _refused(what, repo, error.response.status_code) from None
    except HTTPError as error:
        raise ModelError(
            f"{what}: {constants.ENDPOINT} is out of reach ({type(error).__name__})",
            hint=f"check the network, or name a mirror in HF_ENDPOINT; {AGAIN}",
        ) from None
    except ConnectionError as error:
        raise ModelError(f"{what}: {error}", hint=AGAIN) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = f"free some space, or name another disk in HF_HOME; {AGAIN}" if full else "check HF_HOME and DDBM_HOME"
        reason = "the disk is full" if full else f"cannot be written ({error.strerror or error})"
        raise ModelError(f"{what}: {reason}", hint=hint) from None


def _not_found(what: str, repo: str) -> ModelError:
    return ModelError(
        f"{what}: the hub has no repository '{repo}', or it is private",
        hint=f"check the name; for a private one {LOG_IN}",
    )


def _refused(what: str, repo: str, status: int) -> ModelError:
    if status == 401 and not get_token():  # so it says to strangers, of what is private or is not
        return _not_found(what, repo)
    if status == 401:
        return ModelError(f"{what}: the hub does not accept the token", hint=f"get a new one, then {LOG_IN}")
    if status == 403:
        return ModelError(f"{what}: the token does not allow this", hint=f"get one with the right to it, then {LOG_IN}")
    if status == 429:
        return ModelError(f"{what}: the hub has had too many requests", hint=f"wait some minutes; {AGAIN}")
    return ModelError(f"{what}: {constants.ENDPOINT} answers {status}", hint=f"wait a while; {AGAIN}")
