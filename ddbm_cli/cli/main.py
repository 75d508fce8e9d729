"""The app: its commands, and how errors become messages and exit codes."""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from copy import copy
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from ddbm_cli import __version__
from ddbm_cli.cli import console, terminal
from ddbm_cli.cli.help import Command, Group
from ddbm_cli.foundation import launched
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.text import one_line

gc.freeze()  # what is imported by now is never freed, and need not be searched for garbage: up to 10 ms

COMMANDS = {
    "translate": "Translate images with a diffusion bridge.",
    "sample": "Sample images from noise with a prior, or many draws of each source with a bridge.",
    "train": "Train a bridge on pairs of images, or a prior on images alone.",
    "tune": "Search sampler and times for small budgets, and store them in the model's card.",
    "compare": "Compare methods on the same images: one page with images, a table and trajectories.",
    "draw": "Draw in the browser, and see the result; a server for scripts.",
    "evaluate": "Measure outputs against targets, sketches or a prior, or how much draws of one source differ.",
    "show": "Print a model's card, or the settings that an image was made with.",
    "doctor": "Check this machine: device, number types, speed, cache, network, models.",
    "manual": "Read the manual.",
}
"""Modules of this package, each with a function of its own name, and the first line of its help."""

GROUPS = {"data": "Create, check and preview training data.", "weights": "Get, check, import and share models."}
"""Modules with several commands, and the first line of their help."""

COMPLETION = "_DDBM_COMPLETE"
"""The environment variable with which a shell requests completions."""


def build(asked: Sequence[str] | None = None) -> typer.Typer:
    """Return the app.

    Args:
        asked: the command to build, and of a group its own command; the others are names and first lines only, which
            starts faster. None builds all.
    """
    wanted, inner = (None, None) if asked is None else [*asked, "", ""][:2]
    app = typer.Typer(
        name="ddbm",
        cls=Group,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
            "token_normalize_func": lambda word: word.replace("_", "-"),  # --batch_size is --batch-size
        },
    )
    for name, summary in {**COMMANDS, **GROUPS}.items():
        if wanted not in (None, name):
            app.command(name, cls=Command, help=summary)(_nothing)
        elif name in COMMANDS:
            app.command(cls=Command)(getattr(import_module(f"ddbm_cli.cli.{name}"), name))
        else:
            app.add_typer(_only(import_module(f"ddbm_cli.cli.{name}").app, inner), name=name, cls=Group)
    app.callback()(options)
    return app


def _only(group: typer.Typer, inner: str | None) -> typer.Typer:
    """Return a group of which one command is built, and of the others the first line of help; None builds all."""
    if inner is None:
        return group
    made = copy(group)
    made.registered_commands = list(map(copy, group.registered_commands))
    for command in made.registered_commands:
        function: Any = command.callback
        command.name = command.name or function.__name__
        if command.name != inner:
            command.help, command.callback = function.__doc__, _nothing
    return made


def _nothing() -> None:
    """Stand for a command that is listed and not run."""


def _version(asked: bool) -> None:
    if asked:
        terminal.out(f"ddbm {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error; DDBM_DEBUG=1 does the same.")
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
    terminal.prepare()
    if len(sys.argv) == 1 and COMPLETION not in os.environ:
        sys.argv.append("--help")
    try:
        code = build(_asked())(standalone_mode=False, prog_name="ddbm")
        sys.stdout.flush()
    except DdbmError as error:
        _explain(error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        _usage(error)
    except typer.Abort:
        _explain("cancelled", "run the command again, or pass --yes", 1)
    except KeyboardInterrupt:
        if launched.is_first_to_fail():
            console.interrupted()
        sys.exit(console.INTERRUPTED)
    except BrokenPipeError:
        terminal.abandon_output()
        sys.exit(1)
    except MemoryError:
        _explain("out of memory", "pass a smaller --batch-size, or close other programs", 1)
    except OSError as error:
        place = error.filename or ("standard output" if error.errno in FULL else "")
        if not error.filename:
            terminal.abandon_output()
        what = ": ".join(str(each) for each in (place, error.strerror or error) if each)
        remedy = "free some space" if error.errno in FULL else "check the path and its permissions"
        _explain(what, f"{remedy}, or choose another place", 1)
    except Exception as error:  # the last line of defence: a user never meets a bare traceback
        what = one_line(f"unexpected {type(error).__name__}: {error}")
        _explain(what, "run again with --debug for the traceback: ddbm --debug ...", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _asked() -> list[str]:
    """Return the words of the command line, or of the one that is being completed, which are no options."""
    words = _completed_words() if COMPLETION in os.environ else sys.argv[1:]
    return [word for word in words if not word.startswith("-")]


def _completed_words() -> list[str]:
    """Return the words before the one that is being completed, as bash and as other shells give them."""
    if "COMP_CWORD" in os.environ:
        number = os.environ["COMP_CWORD"]
        return os.environ.get("COMP_WORDS", "").split()[1 : int(number) if number.isdecimal() else None]
    line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = line.split()[1:]
    return words if line.endswith(" ") else words[:-1]


def _usage(error: typer.TyperException) -> NoReturn:
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without a command: its help
        typer.echo(message)
        sys.exit(0)
    where = getattr(getattr(error, "ctx", None), "command_path", "ddbm")
    hint = f"{where} --help"
    if "unexpected extra argument" in message:
        hint = f"quote a pattern, so that the shell does not expand it: {where} '*.png' OUTPUT; see also: {hint}"
    _explain(one_line(message).rstrip("."), hint, error.exit_code)


def _explain(message: str, hint: str, code: int) -> NoReturn:
    if not launched.is_first_to_fail():
        sys.exit(code)
    if terminal.debugging():
        import traceback

        traceback.print_exc(file=sys.stderr)
    if "--json" in sys.argv:
        from ddbm_cli.foundation.event_lines import as_record
        from ddbm_cli.foundation.events import Error

        terminal.emit_if_possible(as_record(Error(message=message, hint=hint, exit_code=code)))
    terminal.error(message, hint)
    sys.exit(code)
