"""The command as a process of its own: on a terminal, in a pipe, with streams closed or of another encoding."""

import os
import pty
import subprocess
import sys
from pathlib import Path


def on_a_terminal(arguments, *, folder=None, columns=100, environment=None, only_stderr=False, script=None):
    """Run the command on a pseudo terminal; return (exit code, standard output where it is a pipe, the screen)."""
    reader, writer = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        if only_stderr:
            os.dup2(writer, 1)
        os.environ |= {"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm", "OMP_NUM_THREADS": "1"}
        os.environ |= environment or {}
        if folder:
            os.chdir(folder)
        start = ["-c", script] if script else ["-m", "ddbm_cli", *map(os.fspath, map(_text, arguments))]
        os.execv(sys.executable, [sys.executable, *start])
    os.close(writer)
    screen = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        screen += chunk
    os.close(terminal)
    with os.fdopen(reader, "rb") as pipe:
        out = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), out, screen


def run(arguments, *, folder=None, environment=None, remove=(), stdin=b"", redirect="", script=None):
    """Run the command by a shell with redirections; return (exit code, standard output, standard error)."""
    given = {name: value for name, value in os.environ.items() if name not in remove}
    given |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])} | (environment or {})
    words = [sys.executable, *(["-c", script] if script else ["-m", "ddbm_cli"]), *map(_text, arguments)]
    command = ["/bin/sh", "-c", f'"$@" {redirect}', "sh", *words]
    done = subprocess.run(command, cwd=folder, env=given, input=stdin, capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def _text(argument):
    return argument if isinstance(argument, str | bytes | os.PathLike) else str(argument)
