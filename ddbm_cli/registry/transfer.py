"""Bytes from the hub, within limits of time and size; an interrupted download resumes where it was interrupted.

The hub's library does the asking: sessions, tokens, mirrors, offline mode, the meaning of answers. It neither keeps
the bytes of a process that ends, nor computes digests, nor bounds what it reads; so bodies are read here.
"""

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

T = TypeVar("T")

HTTPError = cast(type[Exception], HfHubHTTPError.__bases__[0])
"""Any failure to reach a server: the error of the HTTP library that the hub's library uses, whichever that is."""

_LIBRARY = importlib.import_module(HTTPError.__module__.partition(".")[0])
InvalidURL = cast(type[Exception], _LIBRARY.InvalidURL)
ReadTimeout = cast(type[Exception], _LIBRARY.ReadTimeout)

TRIES = 3
"""Number of times that a request is repeated when no byte came of it; a stalled one counts twice."""

SAY_EVERY = 1 << 20
"""Bytes between two reports of progress."""

PASSING = {408, 429, 500, 502, 503, 504}
"""Statuses that may be others a moment later."""

OUT_OF_RANGE = 416

STALLED = 6.0
"""Seconds without a byte, or with fewer than LEAST bytes, after which a download is stalled."""

LEAST = 6_000

LARGEST_UNKNOWN = 2**30
"""Bytes of the largest file whose size the server does not state."""

LARGEST_ANSWER = 2**24
"""Bytes of the largest JSON answer that is read, and"""

LONGEST_ANSWER = 12.0
"""the seconds that it may take."""


class NotJSON(Exception):
    """An answer is not JSON of the expected kind; the message says what it is."""


def patiently(ask: Callable[[], T]) -> T:
    """Repeat a request, after a while, if the server reports trouble; one that cannot be reached is not waited for."""
    for wait in (0.5, 1.0, 2.0):
        try:
            return ask()
        except HfHubHTTPError as error:
            if error.response.status_code not in PASSING:
                raise
            time.sleep(wait)
    return ask()


def read_json(url: str) -> dict[str, Any]:
    """Return the JSON object at an address of the hub's interface.

    Raises:
        HfHubHTTPError, HTTPError: no answer, or an error.
        NotJSON: the answer is something else, too large, or does not end in time.
    """
    began, body = time.monotonic(), bytearray()
    with _get(url, build_hf_headers()) as response:
        _raise_for_status(response)
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise NotJSON(f"answers with more than {LARGEST_ANSWER:,} bytes")
            if time.monotonic() - began > LONGEST_ANSWER:
                raise NotJSON(f"did not finish its answer in {LONGEST_ANSWER:.0f} seconds")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        page = body.lstrip()[:1] == b"<"
        raise NotJSON(f"answers with {'a web page (HTML)' if page else 'something'} instead of JSON") from None
    if not isinstance(found, dict):
        raise NotJSON("answers with another kind of JSON")
    return found


def download(url: str, partial: Path, size: int | None) -> Iterator[int]:
    """Bring a partial file to its full size, repeating requests where that helps; yield the number of bytes so far.

    Args:
        url: immutable, so that the bytes so far fit the rest.
        partial: the file, which may exist. It is kept when this ends early.
        size: of the whole; None if unknown, in which case every request begins from the start.

    Raises:
        HfHubHTTPError, HTTPError, ConnectionError: no answer, or the wrong one, repeatedly.
        OSError: the file cannot be written.
    """
    fruitless = 0
    while True:
        before = held(partial)
        if size is not None and before >= size:
            return
        stalled = False
        problem: Exception = ConnectionError("the connection was closed early")
        try:
            yield from _append(url, partial, size)
            if size is None:
                return
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status == OUT_OF_RANGE and before:  # what was kept is not the begin of this file
                partial.unlink(missing_ok=True)
            elif status not in PASSING:
                raise
            problem = error
        except (ReadTimeout, TimeoutError) as error:
            stalled, problem = True, ConnectionError(str(error) or "the server stopped sending")
        except HTTPError as error:
            problem = error
        progress = held(partial) > before and size is not None and not stalled
        fruitless = 0 if progress else fruitless + 1 + stalled
        if fruitless > TRIES:
            raise problem
        if size is None or held(partial) < size:
            time.sleep(min(2.0**fruitless / 2, 8.0))


def held(partial: Path) -> int:
    """Return the number of bytes in a file, 0 if there is none."""
    return partial.stat().st_size if partial.exists() else 0


def _append(url: str, partial: Path, size: int | None) -> Iterator[int]:
    done = held(partial) if size is not None else 0
    # If it were compressed for the transfer, a range would be of other bytes.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with _get(url, headers) as response:
        _raise_for_status(response)
        resumed = response.status_code == 206 and _begins_at(response, done)
        done = done if resumed else 0
        said = mark = done
        since = time.monotonic()
        with partial.open("ab" if done else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                done += len(chunk)
                if done - said >= SAY_EVERY:
                    yield done
                    said = done
                if done > (LARGEST_UNKNOWN if size is None else size):
                    break
                if done - mark >= LEAST:
                    mark, since = done, time.monotonic()
                elif time.monotonic() - since > STALLED:
                    raise TimeoutError(f"the server sends less than {LEAST / STALLED / 1000:g} kB a second")
        yield done
    if size is None and done > LARGEST_UNKNOWN:
        partial.unlink(missing_ok=True)
        raise ConnectionError(f"the server states no size, and sends more than {LARGEST_UNKNOWN:,} bytes")


def _begins_at(response: Any, first: int) -> bool:
    """Return whether a part begins where it was asked to."""
    return first > 0 and str(response.headers.get("Content-Range", "")).startswith(f"bytes {first}-")


def _get(url: str, headers: dict[str, str]) -> Any:
    given = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT")
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT if given else STALLED
    return get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True)


def _raise_for_status(response: Any) -> None:
    """Raise the hub's error for a status, by the headers alone: the body of an error can be anything, without end."""
    if response.status_code >= 400:
        named = {name: value for name, value in response.headers.items() if name.lower().startswith("x-")}
        hf_raise_for_status(type(response)(response.status_code, headers=named, request=response.request))
