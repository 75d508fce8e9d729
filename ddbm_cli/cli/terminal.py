"""The standard streams: the only place that writes to them.

Results go to standard output, everything for people to standard error. Outside text is escaped before it is written.
Characters that the encoding of a stream lacks are spelled out, so that no name and no locale ends the work.
"""

import atexit
import contextlib
import os
import sys
import warnings
from typing import IO, Any

from ddbm_cli.foundation.text import RAW_BYTES, SPELL_OUT, printable

BOLD, RED, RESET = "\x1b[1m", "\x1b[31m", "\x1b[0m"
DESCRIPTORS = (0, 1, 2)

_state = {"output closed": False}


def prepare() -> None:
    """Make the standard streams safe to use: opened, able to write any text, and closed to control characters."""
    _open_closed_ones()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            results = stream is sys.stdout and not is_terminal(stream) and _is_ascii_based(stream)
            stream.reconfigure(errors=RAW_BYTES if results else SPELL_OUT)
    sys.stderr = Guard(raw(sys.stderr))
    atexit.register(_give_up_errors)
    if not debugging():
        warnings.simplefilter("ignore")  # of libraries, about images that are reported as broken in any case


def debugging() -> bool:
    """Return whether tracebacks and warnings of libraries are wanted."""
    return os.environ.get("DDBM_DEBUG", "0") not in ("", "0")


def output_is_closed() -> bool:
    """Return whether the command was started without a standard output."""
    return _state["output closed"]


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; False for a closed one."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def out(text: object, *, is_heading: bool = False) -> None:
    """Write a result, such as a path, as one line to standard output; a heading is bold on a terminal."""
    safe = printable(text)
    _output(f"{bold(safe, '', sys.stdout) if is_heading else safe}\n")


def pair(name: str, text: object, *, width: int) -> None:
    """Write a name, bold on a terminal, in a column of that width, and a text next to it that wraps in its own."""
    lines = wrapped(text, sys.stdout, indent=width + 2)
    label = bold(printable(name).ljust(width), "", sys.stdout)
    for number, line in enumerate(lines):
        _output(f"{label if number == 0 else ' ' * width}  {line}".rstrip() + "\n")


def emit(record: dict[str, Any]) -> None:
    """Write a record as one JSON line to standard output."""
    import json

    from ddbm_cli.foundation.text import plain

    _output(json.dumps(plain(record), allow_nan=False).replace("\x7f", "\\u007f") + "\n")


def emit_if_possible(record: dict[str, Any]) -> None:
    """Write a record as `emit` does; do nothing where standard output is closed or full."""
    with contextlib.suppress(OSError, ValueError):
        emit(record)


def say(text: object = "", *, name: str = "", colour: str = "") -> None:
    """Write a line for people to standard error, after a name in bold. A closed or full stream is ignored."""
    stream = raw(sys.stderr)
    lead = f"{bold(printable(name), colour, stream)} " if name else ""
    with contextlib.suppress(OSError, ValueError):
        stream.write(f"{lead}{printable(text)}".rstrip() + "\n")
        stream.flush()


def fact(name: str, text: object) -> None:
    """Write a fact for people: a name in a column, and next to it a text that wraps in its own on a terminal."""
    first, *more = wrapped(text, raw(sys.stderr), indent=9)
    say(first, name=f"{name:<8}") if name else say(f"{'':<8} {first}")
    for line in more:
        say(f"{'':<8} {line}")


def wrapped(text: object, stream: Any, *, indent: int) -> list[str]:
    """Return the lines of a text: one, or on a terminal as many as fit next to an indent; no word is broken."""
    import shutil
    import textwrap

    safe = printable(text)
    if not is_terminal(stream):
        return [safe]
    width = max(20, shutil.get_terminal_size().columns - indent)
    return textwrap.wrap(safe, width, break_long_words=False, break_on_hyphens=False) or [""]


def error(message: object, hint: object) -> None:
    """Write what is wrong, and what to do about it, in two lines."""
    stream = raw(sys.stderr)
    first, *more = wrapped(message, stream, indent=7)
    say(first, name="Error:", colour=RED)
    for line in more:
        say(f"{'':<6} {line}")
    first, *more = wrapped(hint, stream, indent=8)
    lines = [f"  {bold('Hint:', '', stream)} {first}", *(f"{'':<7} {line}" for line in more)]
    with contextlib.suppress(OSError, ValueError):
        stream.write("\n".join(lines) + "\n")
        stream.flush()


def bold(text: str, colour: str = "", stream: Any = None) -> str:
    """Return text in bold, where the stream is a terminal and colours are wanted."""
    wanted = "NO_COLOR" not in os.environ and is_terminal(raw(sys.stderr) if stream is None else stream)
    return f"{colour}{BOLD}{text}{RESET}" if wanted else text


def can_write(text: str, stream: Any) -> bool:
    """Return whether the encoding of a stream has all characters of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return False
    return True


def raw(stream: Any) -> Any:
    """Return the stream itself, for text that is escaped already and carries our own colours."""
    return stream.stream if isinstance(stream, Guard) else stream


class Guard:
    """A standard stream for libraries: control characters that they write are escaped, line by line."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text; its line breaks stay."""
        safe = "\n".join(printable(line.removesuffix("\r")) for line in text.split("\n"))
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(safe)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def abandon_output() -> None:
    """Send what is left for standard output nowhere: its reader has gone, as `head` does, or its disk is full."""
    _abandon(sys.stdout)


def _give_up_errors() -> None:
    """Send words for people nowhere where they cannot be written: Python would end with the exit code 120."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _abandon(sys.stderr)


def _abandon(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _output(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _open_closed_ones() -> None:
    """Open /dev/null for streams that are closed, so that no file of ours gets the number of one of them."""
    _state["output closed"] = sys.stdout is None
    for number in DESCRIPTORS:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - open to the end


def _is_ascii_based(stream: Any) -> bool:
    try:
        return "a\n".encode(stream.encoding) == b"a\n"
    except LookupError:
        return False
