"""Bytes from the hub, within limits of time and size; an interrupted download resumes where it was interrupted.

The hub's library makes the requests: sessions, tokens, mirrors, offline mode, the meaning of answers. It neither keeps
the bytes of a process that ends, nor computes digests, nor limits what it reads; so bodies are read here.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.registry.deadline import each_within, within
from ddbm_cli.registry.library import HfHubHTTPError, build_hf_headers, constants, get_session, hf_raise_for_status

T = TypeVar("T")

HTTPError = cast(type[Exception], HfHubHTTPError.__bases__[0])
"""Any failure to reach a server: the error of the HTTP library that the hub's library uses, whichever that is."""

_LIBRARY = importlib.import_module(HTTPError.__module__.partition(".")[0])
InvalidURL = cast(type[Exception], _LIBRARY.InvalidURL)
ReadTimeout = cast(type[Exception], _LIBRARY.ReadTimeout)
BROKEN = tuple(cast(type[Exception], getattr(_LIBRARY, name)) for name in ("RemoteProtocolError", "ReadError"))

TRIES = 3
"""Number of times that a request is repeated when it brought fewer than LEAST bytes; a stalled one counts twice."""

REPORT_EVERY = 1 << 20
"""Bytes between two reports of progress."""

TRANSIENT = {408, 429, 500, 502, 503, 504}
"""Statuses of faults that may end by themselves."""

OUT_OF_RANGE = 416

STALLED = 6.0
"""Seconds without a byte, or with fewer than LEAST bytes, after which a download is stalled."""

LEAST = 6_000

LARGEST_UNKNOWN = 2**30
"""Bytes of the largest file whose size the server does not state."""

LARGEST_ANSWER = 2**24
"""Bytes of the largest JSON answer that is read."""

LONGEST_ANSWER = 12.0
"""Seconds that a JSON answer, or an answer without a body, may take."""


class NotJSON(Exception):
    """An answer is not JSON of the expected kind; the message states what it is."""


def ask(request: Callable[[], T]) -> T:
    """Make a request; repeat it, after a while, if the connection breaks or the server reports a transient fault.

    Raises:
        HfHubHTTPError, HTTPError, ConnectionError: an error, no connection, or no complete answer in LONGEST_ANSWER.
    """
    until = time.monotonic() + LONGEST_ANSWER
    for wait in (0.5, 1.0, 2.0):
        try:
            return within(until - time.monotonic(), request)
        except HfHubHTTPError as error:
            if error.response.status_code not in TRANSIENT:
                raise
        except BROKEN:  # a kept connection that the server has closed
            pass
        time.sleep(wait)
    return within(until - time.monotonic(), request)


def read_json(url: str) -> dict[str, Any]:
    """Return the JSON object at an address of the hub's interface.

    Raises:
        HfHubHTTPError, HTTPError, ConnectionError: no answer, or an error.
        NotJSON: the answer is something else, too large, or does not end in time.
    """
    began, body = time.monotonic(), bytearray()
    with _get(url, build_hf_headers()) as (_, chunks):
        for chunk in chunks:
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise NotJSON(f"answers with more than {LARGEST_ANSWER:,} bytes")
            if time.monotonic() - began > LONGEST_ANSWER:
                raise NotJSON(f"did not finish its answer in {LONGEST_ANSWER:.0f} seconds")
    try:
        found = parse_json(bytes(body))
    except ValueError:
        page = body.lstrip()[:1] == b"<"
        raise NotJSON(f"answers with {'a web page (HTML)' if page else 'something'} instead of JSON") from None
    if not isinstance(found, dict):
        raise NotJSON("answers with another kind of JSON")
    return found


def download(url: str, partial: Path, size: int | None) -> Iterator[int]:
    """Complete a partial file, repeating requests where that helps; yield the number of bytes so far.

    Args:
        url: immutable, so that the bytes so far fit the rest.
        partial: the file, which may exist. It is kept when this ends early.
        size: of the complete file; None if unknown, in which case every request begins from the start.

    Raises:
        HfHubHTTPError, HTTPError, ConnectionError: no answer, or the wrong one, repeatedly.
        OSError: the file cannot be written.
    """
    fruitless = 0
    if size == 0:
        partial.touch()
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
            if status == OUT_OF_RANGE and before:  # what was kept is not the beginning of this file
                partial.unlink(missing_ok=True)
            elif status not in TRANSIENT:
                raise
            problem = error
        except (ReadTimeout, TimeoutError) as error:
            stalled, problem = True, ConnectionError(str(error) or "the server stopped sending")
        except HTTPError as error:
            problem = error
        progress = size is not None and not stalled and held(partial) - before >= min(LEAST, size - before)
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
    with _get(url, headers) as (response, chunks):
        resumed = response.status_code == 206 and _begins_at(response, done)
        done = done if resumed else 0
        reported = mark = done
        since = time.monotonic()
        with partial.open("ab" if done else "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                done += len(chunk)
                if done - reported >= REPORT_EVERY:
                    yield done
                    reported = done
                if done > (LARGEST_UNKNOWN if size is None else size):
                    break
                if done - mark >= LEAST:
                    mark, since = done, time.monotonic()
                elif time.monotonic() - since > STALLED:
                    raise TimeoutError(f"the server sends less than {LEAST / STALLED / 1000:g} kB per second")
        yield done
    if size is None and done > LARGEST_UNKNOWN:
        partial.unlink(missing_ok=True)
        raise ConnectionError(f"the server states no size, and sends more than {LARGEST_UNKNOWN:,} bytes")


def _begins_at(response: Any, first: int) -> bool:
    """Return whether a partial answer begins at the requested byte."""
    return first > 0 and str(response.headers.get("Content-Range", "")).startswith(f"bytes {first}-")


@contextmanager
def _get(url: str, headers: dict[str, str]) -> Iterator[tuple[Any, Iterator[bytes]]]:
    """Make a request; give its answer, and its body in chunks, each of which has to come within the time limit."""
    given = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT")
    timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT) if given else STALLED
    stream = get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True)
    response = within(timeout, stream.__enter__)
    try:
        _raise_for_status(response)
        yield response, each_within(timeout, response.iter_bytes())
    finally:
        stream.__exit__(None, None, None)


def _raise_for_status(response: Any) -> None:
    """Raise the hub's error for a status, by the headers alone: the body of an error can be anything, without end."""
    if response.status_code >= 400:
        named = {name: value for name, value in response.headers.items() if name.lower().startswith("x-")}
        hf_raise_for_status(type(response)(response.status_code, headers=named, request=response.request))
