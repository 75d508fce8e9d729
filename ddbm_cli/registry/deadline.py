"""Time limits for calls that block.

The limits of HTTP libraries are for each byte, so that a server which sends a byte of a header every few seconds blocks
them without end. Here the call runs in its own thread, which is abandoned when the time is over.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

AHEAD = 8
"""Number of values that are produced in advance."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns.

    Raises:
        TimeoutError: it did not return in time.
        Exception: what the call raises.
    """
    return next(each_within(seconds, _once(call)))


def each_within(seconds: float, values: Iterator[T]) -> Iterator[T]:
    """Yield the values of an iterator.

    Raises:
        TimeoutError: one of them did not come in time.
        Exception: what the iterator raises.
    """
    found: queue.Queue[tuple[str, object]] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for value in values:
                found.put(("value", value))
                if stopped.is_set():
                    return
            found.put(("end", None))
        except BaseException as error:  # raised again in the other thread
            found.put(("error", error))

    threading.Thread(target=produce, daemon=True).start()
    try:
        while True:
            try:
                kind, value = found.get(timeout=max(seconds, 0.001))
            except queue.Empty:
                raise TimeoutError("the server did not complete its answer in time") from None
            if kind == "end":
                return
            if kind == "error":
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        while not found.empty():  # a producer that waits for room ends
            found.get_nowait()


def _once(call: Callable[[], T]) -> Iterator[T]:
    yield call()
