"""The app: its commands, and how errors become messages and exit codes."""

import os
import sys
import traceback
from typing import Annotated

import typer

from ddbm_cli import __version__
from ddbm_cli.cli import console, data
from ddbm_cli.cli.train import train
from ddbm_cli.cli.translate import translate
from ddbm_cli.errors import DdbmError

app = typer.Typer(
    name="ddbm",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(translate)
app.command()(train)
app.add_typer(data.app, name="data")

INTERRUPTED = 130


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"ddbm {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="DDBM_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Image-to-image translation with diffusion bridges.

    Example: ddbm translate sketches/ pictures/
    """
    if debug:
        os.environ["DDBM_DEBUG"] = "1"


def main() -> None:
    """Run the command line; every expected error is two lines and an exit code."""
    try:
        app(standalone_mode=True)
    except DdbmError as error:
        _explain(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        _explain("interrupted", "the same command goes on where it stopped", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the last line of defence: a user never meets a bare traceback
        _explain(f"unexpected: {type(error).__name__}: {error}", "see the traceback with: ddbm --debug ...", 1)


def _explain(message: str, hint: str, code: int) -> None:
    if os.environ.get("DDBM_DEBUG", "0") not in ("", "0"):
        traceback.print_exc()
    console.error(message, hint)
    sys.exit(code)
