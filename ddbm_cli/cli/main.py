"""The app: its commands, and how errors become messages and exit codes."""

import errno
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from ddbm_cli import __version__
from ddbm_cli.cli import console
from ddbm_cli.cli.help import Command, Group
from ddbm_cli.foundation.errors import DdbmError

COMMANDS = ("translate", "sample", "train", "compare", "evaluate", "show", "doctor")
"""Modules of this package, each with a function of its own name."""

GROUPS = ("data", "weights")
"""Modules with several commands."""


def build(asked: str | None = None) -> typer.Typer:
    """Return the app: with the one command that is asked for, which starts faster, or with all."""
    app = typer.Typer(
        name="ddbm",
        cls=Group,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    known = asked in (*COMMANDS, *GROUPS)
    for name in COMMANDS:
        if name == asked or not known:
            app.command(cls=Command)(getattr(import_module(f"ddbm_cli.cli.{name}"), name))
    for name in GROUPS:
        if name == asked or not known:
            app.add_typer(import_module(f"ddbm_cli.cli.{name}").app, name=name, cls=Group)
    app.callback()(options)
    return app


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"ddbm {__version__}\n")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; or set DDBM_DEBUG=1.")
    ] = False,
) -> None:
    """Image-to-image translation with diffusion bridges.

    Example: ddbm translate sketches/ pictures/
    """
    if debug:
        os.environ["DDBM_DEBUG"] = "1"


FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> NoReturn:
    """Run the command line; every expected error is two lines and an exit code."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if not _debugging():
        warnings.simplefilter("ignore")  # of libraries, about pictures that are said to be broken anyway
    # A file name that is no text goes out as it came in.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")
    try:
        code = build(asked)(standalone_mode=False)
        sys.stdout.flush()
    except DdbmError as error:
        _explain(error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        _usage(error)
    except typer.Abort:
        _explain("given up", "run it again", 1)
    except BrokenPipeError:
        _hush()
        sys.exit(1)
    except OSError as error:
        what = ": ".join(str(each) for each in (error.filename, error.strerror or error) if each)
        remedy = "free some space" if error.errno in FULL else "check the path and its permissions"
        _explain(_one_line(what), f"{remedy}, or choose another place", 1)
    except Exception as error:  # the last line of defence: a user never meets a bare traceback
        what = _one_line(f"unexpected {type(error).__name__}: {error}")
        _explain(what, "run again with --debug for the traceback: ddbm --debug ...", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: typer.TyperException) -> NoReturn:
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without a command: its help
        typer.echo(message)
        sys.exit(0)
    where = getattr(getattr(error, "ctx", None), "command_path", "ddbm")
    _explain(_one_line(message), f"{where} --help", error.exit_code)


def _explain(message: str, hint: str, code: int) -> NoReturn:
    if _debugging():
        import traceback

        traceback.print_exc()
    console.error(message, hint)
    sys.exit(code)


def _debugging() -> bool:
    return os.environ.get("DDBM_DEBUG", "0") not in ("", "0")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _hush() -> None:
    """The reader of our output has gone, as `head` does; keep the interpreter from complaining at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
