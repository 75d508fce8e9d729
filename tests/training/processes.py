"""`ddbm train` in several forked processes that train together. Launchers are tested in `test_process_launchers`."""

import json
import os
import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch.distributed import TCPStore

from tests import forked


def train(arguments, strike) -> None:
    """Run `ddbm train` in this process, which gets a signal as `together` describes."""
    if strike:
        _strike(*strike)
    forked.command("train", *arguments)


def _strike(kind: str, number: int, name: str) -> None:
    from ddbm_cli.models import checkpoint
    from ddbm_cli.tasks import train as task

    def now():
        os.kill(os.getpid(), getattr(signal, name))

    if kind == "write":  # the file has its header and half of its tensors; it is not renamed yet
        original, writes = checkpoint.os.fsync, []

        def fsync(descriptor):
            writes.append(descriptor)
            if len(writes) == number:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                now()
            original(descriptor)

        checkpoint.os.fsync = fsync
        return
    run = task.run

    def struck(*given, **named):
        for count, event in enumerate(run(*given, **named), start=1):
            if kind == "event" and count == number:
                now()
            if kind == "time" and count == 2:
                threading.Timer(number / 1000, now).start()
            yield event

    task.run = struck


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str


def together(root: Path, *arguments, count: int = 2, strikes=None, **environment) -> list[Ended]:
    """Run `ddbm train` in processes that train together, in the folder `root`; return how each ended.

    Args:
        strikes: by rank, how a process gets a signal: (kind, number, name of the signal). "event": at that event,
            "time": so many milliseconds after the second event, "write": when half of that file of tensors is written.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as a launcher has it
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True}
    words, started = [*map(str, arguments), "-d", "cpu", "--json"], []
    with ExitStack() as opened:
        nothing = opened.enter_context(Path(os.devnull).open())
        for rank in range(count):
            numbers = {"WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
            given = {name: str(value) for name, value in (numbers | place | environment).items()}
            files = [root / f"{name}-{rank}.txt" for name in ("out", "err")]
            streams = [each.fileno() for each in (nothing, *(opened.enter_context(file.open("w")) for file in files))]
            strike = (strikes or {}).get(rank)
            process = forked.start(train, words, strike, streams=streams, folder=root, environment=given)
            opened.callback(process.kill)
            started.append((process, files))
        for process, _ in started:
            process.join()
    return [Ended(process.exitcode, *(file.read_text() for file in files)) for process, files in started]


def events(ended: list[Ended]) -> list[dict]:
    """Return the events of the main process; all must have ended well, and the others must have said nothing."""
    assert [each.code for each in ended] == [0] * len(ended), ended
    assert all(not each.out and not each.err for each in ended[1:]), "the main process alone reports"
    return [json.loads(line) for line in ended[0].out.splitlines()]


def said(ended: list[Ended]) -> list[str]:
    """Return the errors of all processes."""
    return [line for each in ended for line in each.err.splitlines() if line.startswith("Error:")]
