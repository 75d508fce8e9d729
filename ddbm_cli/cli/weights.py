"""`ddbm weights`: which models there are, and getting them; options in, events out."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ddbm_cli.cli import console, options, terminal, weights_files
from ddbm_cli.cli.help import Command, Group
from ddbm_cli.foundation.errors import UsageError

if TYPE_CHECKING:
    from ddbm_cli.registry import Entry

HELP = "Get, check, import and share models."

app = typer.Typer(no_args_is_help=True, help=HELP, cls=Group)

Names = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Names, or org/repo[@rev][:file].", show_default=False)
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, or org/repo[@rev][:file].", show_default=False)]


@app.callback()
def group() -> None:
    """Get, check, import and share models."""


@app.command("list", cls=Command)
def list_models(json: options.Json = False) -> None:
    """List the models that can be named after -m, and which are here.

    Your own go into a file of the same form as the package's weights.toml: name it in DDBM_WEIGHTS, or put a
    weights.toml into the working folder.

    \b
    Examples:
      ddbm weights list
      ddbm weights list --json
    """
    from ddbm_cli.cli import tables
    from ddbm_cli.registry import read_registry

    registry = read_registry()
    tables.models(list(registry.values()), json=json)
    for problem in registry.problems:
        console.error(problem.message, problem.hint)


@app.command(cls=Command)
def info(name: Name, json: options.Json = False) -> None:
    """Tell all that is known of a model: what it does, its limits, licence and source, and what could not be checked.

    \b
    Examples:
      ddbm weights info edges2handbags-vp-64
    """
    from ddbm_cli.cli import tables

    tables.model(_entry(name), json=json)


@app.command(cls=Command)
def pull(
    names: Names,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much would be fetched, and stop.")] = False,
    accept_change: Annotated[
        bool, typer.Option("--accept-change", help="Take the hub's file though the first download was another.")
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Fetch models, check them and make them ready; `-m NAME` does the same when it meets one that is not here.

    A download that was stopped goes on where it was. It is used only when its sha256 is right. Files lie in the
    cache of Hugging Face (HF_HOME), and HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE work as they do elsewhere.

    \b
    Examples:
      ddbm weights pull edges2handbags-vp-64 --dry-run
      ddbm weights pull edges2handbags-vp-64 diode-vp-256
      ddbm weights pull someone/their-bridge@v1:model.safetensors
    """
    from ddbm_cli.tasks import weights

    events = weights.pull(names, accept_change=accept_change, dry_run=dry_run)
    raise typer.Exit(console.render(events, quiet=quiet, json=json, progress=not no_progress))


@app.command(cls=Command)
def path(name: Name) -> None:
    """Print where a model's file is, without asking the hub; exit code 4 if it is not here.

    \b
    Examples:
      cp "$(ddbm weights path edges2handbags-vp-64)" bags.safetensors
    """
    from ddbm_cli.tasks import weights

    terminal.out(weights.path(name))


@app.command(cls=Command)
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="All that are here if left out.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="See too what they make of a known picture.")] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compute the digests of models anew. A damaged file is removed, so that it is not used; pull brings it back.

    \b
    Examples:
      ddbm weights verify
      ddbm weights verify edges2handbags-vp-64 --check

    \b
    Exit codes: 0 all good, 3 some damaged, 4 not here.
    """
    from ddbm_cli.tasks import weights

    code = console.render(weights.verify(names or [], check=check), quiet=quiet, json=json, progress=False)
    raise typer.Exit(console.SOME_FAILED if code else code)


@app.command(cls=Command)
def rm(
    names: Names,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Remove models from the disk; they stay in the list, and pull brings them back.

    \b
    Examples:
      ddbm weights rm edges2handbags-vp-64
    """
    from ddbm_cli.cli.bars import human
    from ddbm_cli.tasks import weights

    total = sum(weights.size(name) for name in names)
    if not yes:
        if not terminal.is_terminal(sys.stdin):
            raise UsageError("cannot ask for confirmation: stdin is not a terminal", hint="pass --yes")
        typer.confirm(f"Remove {', '.join(names)} ({human(total)})?", abort=True, err=True)
    raise typer.Exit(console.render(weights.remove(names), quiet=quiet, json=json, progress=False))


def _entry(name: str) -> "Entry":
    from ddbm_cli.registry import Entry, parse

    found = parse(name)
    if not isinstance(found, Entry):
        raise UsageError(f"'{name}' is not in the registry", hint="ddbm weights list tells which are")
    return found


weights_files.add(app)
