"""Processes forked from one that has imported torch and the package, so that no test waits 3 s for imports.

For what an interpreter does while it starts, as with the variables of its encodings, see `tests.cli.shells`.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import chdir, contextmanager
from functools import cache, partial
from multiprocessing import forkserver, get_context, reduction
from pathlib import Path
from tempfile import TemporaryFile
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
IMPORTED = [
    *("numpy", "torch", "accelerate.utils"),
    *("torch._dynamo", "torch.distributed.fsdp", "torch.utils.tensorboard"),  # 2 s, which the first step would take
    *(f"ddbm_cli.cli.{name}" for name in ("console", "main", "preview", "train", "translate")),
    *(f"ddbm_cli.tasks.{name}" for name in ("train", "translate")),
    "tests.training.processes",
]


class Descriptor:
    """A descriptor of this process, which a process that gets it has under another number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self):
        return _received, (reduction.DupFd(self.number),)


def _received(sent) -> int:
    return sent.detach()


def command(*arguments) -> None:
    """Run the command."""
    from ddbm_cli.cli.main import main

    sys.argv = ["ddbm", *map(os.fsdecode, map(_text, arguments))]
    main()


def script(text: str, *arguments) -> None:
    """Run a script, as `python -c` does."""
    sys.argv = ["-c", *map(str, arguments)]
    exec(text, {"__name__": "__main__"})


def start(action: Callable, *arguments, streams, folder=None, environment=None):
    """Start a process that calls a function of a module; return it, a `multiprocessing.Process`.

    Args:
        action: `command`, `script` or another; it may end with SystemExit, as the command does.
        streams: the descriptors of standard input, output and error; None for one that is closed.
        folder: its working directory; None for that of the tests.
        environment: variables that it has in addition to those of the tests.
    """
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {})
    sent = [None if number is None else Descriptor(number) for number in streams]
    place = (os.fspath(folder or Path.cwd()), dict(variables))
    process = _forks().Process(target=_begin, args=(action, arguments, sent, *place), daemon=True)
    process.start()
    return process


def run(*arguments, action=command, stdin=b"", closed=(), folder=None, environment=None):
    """Run the command, or another action, to its end; return (exit code, standard output, standard error).

    Args:
        closed: the numbers of the standard streams that are closed.
    """
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        streams = [None if each in closed else file.fileno() for each, file in enumerate((given, out, err))]
        process = start(action, *arguments, streams=streams, folder=folder, environment=environment)
        process.join()
        return process.exitcode, _content(out), _content(err)


@contextmanager
def running(*arguments):
    """Start the command; give its process, its standard output (a pipe), and what reads its standard error so far.

    At the end it is killed.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as out, TemporaryFile() as err, Path(os.devnull).open() as nothing:
        try:
            process = start(command, *arguments, streams=(nothing.fileno(), writer, err.fileno()))
        finally:
            os.close(writer)
        yield process, out, partial(_content, err)
        process.kill()
        process.join()


def _content(file) -> bytes:
    number = file.fileno()
    return os.pread(number, os.fstat(number).st_size, 0)  # a process may write yet


@cache
def _forks():
    """Return the context whose server has imported everything; there is none on Windows."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with chdir(ROOT), patch.dict(os.environ, OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    return context


def _begin(action, arguments, streams, folder, environment) -> None:
    """Do what an interpreter does before its program: directory, variables, streams."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which those ignore that are started behind an "&"
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if streams[number] is None:
            os.close(number)
            stream = None
        else:
            os.dup2(streams[number], number)
            stream = os.fdopen(number, mode, buffering=1 if name == "stderr" else -1, closefd=False)
        setattr(sys, name, stream)
    for number in set(streams) - {None}:
        os.close(number)
    action(*arguments)
    sys.stdout.flush()


def _text(argument):
    return argument if isinstance(argument, str | bytes | os.PathLike) else str(argument)
