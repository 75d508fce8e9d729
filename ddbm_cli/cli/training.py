"""Signals during a training: the first one stops it between two steps, with its state saved."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ddbm_cli.cli.console import ALL_DONE, INTERRUPTED
from ddbm_cli.foundation.events import Trained

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that save a training; a closed terminal sends SIGHUP, which Windows does not have."""


@contextmanager
def stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal to stop was received; a second signal ends it at once.

    After SIGHUP the terminal is gone: what is printed is discarded then, so that the state can still be saved. A
    process that ignores SIGHUP, as under nohup, continues to ignore it.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if number == getattr(signal, "SIGHUP", None):
            _discard_output()

    before = {}
    for name in STOPPING:
        number = getattr(signal, name, None)
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            before[number] = signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _discard_output() -> None:
    """Point the streams that are a terminal to the null device."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            if os.isatty(stream) or not _is_open(stream):
                os.dup2(null, stream)


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True


def quietly(events: Iterable[object]) -> int:
    """Run the task of a process that is not the main one, and return its exit code; the main one reports."""
    ended = any([isinstance(event, Trained) and event.stopped for event in events])
    return INTERRUPTED if ended else ALL_DONE
