"""Errors of the hub, the network and the disk as a message and a hint."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry.library import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    constants,
    get_token,
)
from ddbm_cli.registry.transfer import HTTPError, InvalidURL, NotJSON

LOG_IN = "set HF_TOKEN, or: hf auth login"
AGAIN = "repeat the command: it resumes the download"
OTHER = "check HF_ENDPOINT, the proxy, and whether the network asks for a login"


@contextmanager
def explained(what: str, repo: str) -> Iterator[None]:
    """Turn any error of the hub, the network or the disk into a ModelError about `what`."""
    try:
        yield
    except HFValidationError:
        raise ModelError(f"{what}: not the name of a repository", hint="write it as org/repo") from None
    except GatedRepoError:
        raise ModelError(
            f"{what}: a gated repository", hint=f"request access at {constants.ENDPOINT}/{repo}, then {LOG_IN}"
        ) from None
    except RepositoryNotFoundError:
        raise _not_found(what, repo) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"{what}: the repository has no such revision", hint="check @revision, or leave it out"
        ) from None
    except RemoteEntryNotFoundError:
        raise ModelError(
            f"{what}: the repository has no such file", hint=f"list its files at {constants.ENDPOINT}/{repo}/tree/main"
        ) from None
    except OfflineModeIsEnabled:
        raise ModelError(
            f"{what}: not downloaded, and HF_HUB_OFFLINE is set",
            hint="unset HF_HUB_OFFLINE, then: ddbm weights pull",
        ) from None
    except HfHubHTTPError as error:
        raise _refused(what, repo, error.response.status_code) from None
    except HTTPError as error:
        raise ModelError(
            f"{what}: {constants.ENDPOINT} cannot be reached ({type(error).__name__})",
            hint=f"check the network, or set HF_ENDPOINT to a mirror; {AGAIN}",
        ) from None
    except NotJSON as error:
        raise ModelError(f"{what}: {constants.ENDPOINT} {error}", hint=OTHER) from None
    except (ConnectionError, TimeoutError) as error:
        raise ModelError(f"{what}: {error or 'the connection failed'}", hint=AGAIN) from None
    except (
        InvalidURL,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ):  # by wrong answers
        raise ModelError(f"{what}: {constants.ENDPOINT} does not answer like the hub", hint=OTHER) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = f"free some space, or set HF_HOME to another disk; {AGAIN}" if full else "check HF_HOME and DDBM_HOME"
        reason = "the disk is full" if full else f"cannot be written ({error.strerror or error})"
        raise ModelError(f"{what}: {reason}", hint=hint) from None


def _not_found(what: str, repo: str) -> ModelError:
    return ModelError(
        f"{what}: the hub has no repository '{repo}', or it is private",
        hint=f"check the name; for a private repository {LOG_IN}",
    )


def _refused(what: str, repo: str, status: int) -> ModelError:
    if status == 401 and not get_token():  # the answer without a token, also about what does not exist
        return _not_found(what, repo)
    if status == 401:
        return ModelError(f"{what}: the hub does not accept the token", hint=f"get a new one, then {LOG_IN}")
    if status == 403:
        return ModelError(f"{what}: the token does not allow this", hint=f"use one with access to it: {LOG_IN}")
    if status == 429:
        return ModelError(f"{what}: too many requests to the hub", hint=f"wait some minutes; {AGAIN}")
    return ModelError(f"{what}: {constants.ENDPOINT} answers {status}", hint=f"wait a while; {AGAIN}")
