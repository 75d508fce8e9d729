"""`ddbm train` in several processes that are forked from a process that has imported everything.

So a test does not wait for the imports of each. Launchers themselves are tested in `test_process_launchers`.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch.distributed import TCPStore

SERVER = r"""
import json, os, signal, sys, threading
import torch
torch.set_num_threads(1)
import accelerate.utils, numpy
import torch._dynamo, torch.distributed.fsdp, torch.utils.tensorboard  # 2 s, which the first step would take
from ddbm_cli.cli import console, preview, train as command
from ddbm_cli.cli.main import main
from ddbm_cli.models import checkpoint
from ddbm_cli.tasks import train as task

def strike(kind, number, name):
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

def begin(asked):
    os.chdir(asked["cwd"])
    os.environ |= asked["env"]
    for descriptor, name in enumerate(asked["streams"], start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdin = open(os.devnull)
    sys.argv = ["ddbm", "train", *asked["arguments"]]
    if asked["strike"]:
        strike(*asked["strike"])
    main()

print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if isinstance(asked, int):
        print(os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1]), flush=True)
        continue
    child = os.fork()
    if not child:
        begin(asked)
    print(child, flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str


class _Server:
    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", SERVER]
        self._process = subprocess.Popen(command, env=environment, process_group=0, **pipes)
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, what) -> int:
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@cache
def _server() -> _Server:
    import atexit

    server = _Server()
    atexit.register(server.end)
    return server


def together(root: Path, *arguments, count: int = 2, strikes=None, **environment) -> list[Ended]:
    """Run `ddbm train` in processes that train together, in the folder `root`; return how each ended.

    Args:
        strikes: by rank, how a process gets a signal: (kind, number, name of the signal). "event": at that event,
            "time": so many milliseconds after the second event, "write": when half of that file of tensors is written.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as a launcher has it
    started = []
    try:
        for rank in range(count):
            numbers = {"WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True}
            streams = [str(root / f"{name}-{rank}.txt") for name in ("out", "err")]
            asked = {
                "cwd": str(root),
                "env": {name: str(value) for name, value in (numbers | place | environment).items()},
                "streams": streams,
                "arguments": [*map(str, arguments), "-d", "cpu", "--json"],
                "strike": (strikes or {}).get(rank),
            }
            started.append((_server().ask(asked), streams))
        return [Ended(_server().ask(pid), *(Path(file).read_text() for file in streams)) for pid, streams in started]
    except BaseException:
        _server().end()
        _server.cache_clear()
        raise


def events(ended: list[Ended]) -> list[dict]:
    """Return the events of the main process; all must have ended well, and the others must have said nothing."""
    assert [each.code for each in ended] == [0] * len(ended), ended
    assert all(not each.out and not each.err for each in ended[1:]), "the main process alone reports"
    return [json.loads(line) for line in ended[0].out.splitlines()]


def said(ended: list[Ended]) -> list[str]:
    """Return the errors of all processes."""
    return [line for each in ended for line in each.err.splitlines() if line.startswith("Error:")]
