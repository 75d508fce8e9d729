"""Bytes from the hub into a file that may have some of them already: a cut download goes on where it was cut.

The hub's library does the asking: sessions, tokens, mirrors, offline mode, the meaning of answers. It does not keep
what has come when a process ends, and does not compute digests; so the file itself is written here.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, cast

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

T = TypeVar("T")

HTTPError = cast(type[Exception], HfHubHTTPError.__bases__[0])
"""Any failure to reach a server: the error of the HTTP library that the hub's library uses, whichever that is."""

TRIES = 4
"""Times that a request is given again when not one byte came of it."""

SAY_EVERY = 1 << 20
"""Bytes between two words of progress."""

PASSING = {408, 429, 500, 502, 503, 504}
"""Answers that may be others a moment later."""


def patiently(ask: Callable[[], T]) -> T:
    """Ask again, after a while, where the server says that it is in trouble; one out of reach is not waited for."""
    for wait in (0.5, 1.0, 2.0):
        try:
            return ask()
        except HfHubHTTPError as error:
            if error.response.status_code not in PASSING:
                raise
            time.sleep(wait)
    return ask()


def download(url: str, partial: Path, size: int | None) -> Iterator[int]:
    """Bring a partial file to its full size, trying again where that helps; yield the number of bytes that are there.

    Args:
        url: immutable, so that what is there already fits what comes.
        partial: the file, or where it will be. It is left as it is when this ends early.
        size: of the whole; None if unknown, then every try begins anew.

    Raises:
        HfHubHTTPError, HTTPError: no answer, or the wrong one, time and again.
        OSError: the file cannot be written.
    """
    fruitless = 0
    while True:
        before = held(partial)
        if size is not None and before >= size:
            return
        problem: Exception = ConnectionError("the connection was cut")
        try:
            yield from _append(url, partial, size)
            if size is None:
                return
        except HfHubHTTPError as error:
            if error.response.status_code not in PASSING:
                raise
            problem = error
        except HTTPError as error:
            problem = error
        fruitless = 0 if held(partial) > before and size is not None else fruitless + 1
        if fruitless > TRIES:
            raise problem
        if size is None or held(partial) < size:
            time.sleep(min(2.0**fruitless / 2, 8.0))


def held(partial: Path) -> int:
    """Return the number of bytes in a file, 0 if there is none."""
    return partial.stat().st_size if partial.exists() else 0


def _append(url: str, partial: Path, size: int | None) -> Iterator[int]:
    done = held(partial) if size is not None else 0
    # Compressed on the way, a range would be of other bytes.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
        hf_raise_for_status(response)
        done = done if response.status_code == 206 else 0
        said = done
        with partial.open("ab" if done else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                done += len(chunk)
                if done - said >= SAY_EVERY:
                    yield done
                    said = done
                if size is not None and done > size:
                    break
        yield done
