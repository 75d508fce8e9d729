"""The command as a process of its own: on a terminal, in a pipe, with streams closed or of another encoding."""

import os
import pty
import subprocess
import sys

from tests import forked


def on_a_terminal(arguments, *, folder=None, columns=100, environment=None, only_stderr=False, script=None):
    """Run the command on a pseudo terminal; return (exit code, standard output where it is a pipe, the screen)."""
    reader, writer = os.pipe()
    terminal, other = pty.openpty()
    given = {"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"} | (environment or {})
    process = forked.start(
        *((forked.script, script) if script else (forked.command, *arguments)),
        streams=(other, writer if only_stderr else other, other),
        folder=folder,
        environment=given,
    )
    os.close(writer)
    os.close(other)
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
    process.join()
    return process.exitcode, out, screen


def run(arguments, *, folder=None, environment=None, remove=(), redirect="", script=None):
    """Run the command by a shell with redirections; return (exit code, standard output, standard error)."""
    given = {name: value for name, value in os.environ.items() if name not in remove}
    given |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(forked.ROOT)} | (environment or {})
    words = [sys.executable, *(["-c", script] if script else ["-m", "ddbm_cli"]), *arguments]
    command = ["/bin/sh", "-c", f'"$@" {redirect}', "sh", *words]
    done = subprocess.run(command, cwd=folder, env=given, input=b"", capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr
