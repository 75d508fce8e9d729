"""Signals during a training: the first one stops it between two steps, with its state saved."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ddbm_cli.foundation.errors import UsageError

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


def refuse_several_processes() -> None:
    """Refuse a group of processes, as torchrun starts them: all would write into one folder.

    Raises:
        UsageError: this process is one of several.
    """
    size = os.environ.get("WORLD_SIZE", "1").strip()
    if size not in ("", "0", "1"):
        raise UsageError(
            f"training in several processes is not supported (WORLD_SIZE={size})",
            hint="start it once, without torchrun: ddbm train DATA; choose a GPU with --device cuda:1",
        )
