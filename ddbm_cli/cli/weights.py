"""`ddbm weights`: which models there are, and getting them; options in, events out."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from ddbm_cli.cli import console, signature, terminal, weights_files
from ddbm_cli.cli.help import Command, Group
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import PANELS, Brief, Printed, Records
from ddbm_cli.options.weights import NameOptions, PullOptions, RemoveOptions, VerifyOptions

if TYPE_CHECKING:
    from ddbm_cli.registry import Entry

HELP = "Get, check, import and share models."

app = typer.Typer(no_args_is_help=True, help=HELP, cls=Group)


@app.callback()
def group() -> None:
    """Get, check, import and share models."""


@app.command("list", cls=Command)
@signature.takes(Records)
def list_models(printed: Mapping[str, Any]) -> None:
    """List the models that -m accepts by name, and which are downloaded.

    Add your own in a weights.toml in the working folder, or in the file that DDBM_WEIGHTS names, in the form of the
    package's weights.toml.

    \b
    Examples:
      ddbm weights list
      ddbm weights list --json
    """
    from ddbm_cli.cli import tables
    from ddbm_cli.registry import read_registry

    registry = read_registry()
    tables.models(list(registry.values()), json=printed.get("json", False))
    for problem in registry.problems:
        console.error(problem.message, problem.hint)


@app.command(cls=Command)
@signature.takes(NameOptions, Records)
def info(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Print a model's description, limits, licence and source, and what could not be verified.

    \b
    Examples:
      ddbm weights info edges2handbags-vp-64
    """
    from ddbm_cli.cli import tables

    tables.model(_entry(given["name"]), json=printed.get("json", False))


@app.command(cls=Command)
@signature.takes(PullOptions, Printed, panels=PANELS)
def pull(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Download models, verify them and convert them; -m NAME does the same for a model that is not downloaded.

    An interrupted download resumes. A file is used only if its sha256 matches. Files are stored in the cache of
    Hugging Face (HF_HOME); HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE have their usual meanings.

    \b
    Examples:
      ddbm weights pull edges2handbags-vp-64 --dry-run
      ddbm weights pull edges2handbags-vp-64 diode-vp-256
      ddbm weights pull someone/their-bridge@v1:model.safetensors
    """
    asked, shown = from_options(PullOptions, given, command="weights pull"), Printed(**printed)

    from ddbm_cli.tasks import weights

    events = weights.pull(list(asked.names), accept_change=asked.accept_change, dry_run=asked.dry_run)
    raise typer.Exit(console.render(events, quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))


@app.command(cls=Command)
@signature.takes(NameOptions)
def path(given: Mapping[str, Any]) -> None:
    """Print the path of a model's file, without network access; exit code 4 if it is not downloaded.

    \b
    Examples:
      cp "$(ddbm weights path edges2handbags-vp-64)" bags.safetensors
    """
    from ddbm_cli.tasks import weights

    terminal.out(weights.path(given["name"]))


@app.command(cls=Command)
@signature.takes(VerifyOptions, Brief)
def verify(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Compute the sha256 of models again, and report files that are damaged.

    \b
    Examples:
      ddbm weights verify
      ddbm weights verify edges2handbags-vp-64 --check

    \b
    Exit codes: 0 all intact, 3 some damaged, 4 not downloaded.
    """
    asked, shown = from_options(VerifyOptions, given, command="weights verify"), Brief(**printed)

    from ddbm_cli.tasks import weights

    events = weights.verify(list(asked.names), check=asked.check)
    code = console.render(events, quiet=shown.quiet, json=shown.json, progress=False)
    raise typer.Exit(console.SOME_FAILED if code else code)


@app.command(cls=Command)
@signature.takes(RemoveOptions, Brief)
def rm(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Remove downloaded models from the disk; `ddbm weights pull` downloads them again.

    \b
    Examples:
      ddbm weights rm edges2handbags-vp-64
    """
    asked, shown = from_options(RemoveOptions, given, command="weights rm"), Brief(**printed)

    from ddbm_cli.cli.bars import human
    from ddbm_cli.tasks import weights

    names = list(asked.names)
    total = sum(weights.size(name) for name in names)
    if not asked.yes:
        if not terminal.is_terminal(sys.stdin):
            raise UsageError("cannot ask for confirmation: stdin is not a terminal", hint="pass --yes")
        typer.confirm(f"Remove {', '.join(names)} ({human(total)})?", abort=True, err=True)
    raise typer.Exit(console.render(weights.remove(names), quiet=shown.quiet, json=shown.json, progress=False))


def _entry(name: str) -> "Entry":
    from ddbm_cli.registry import Entry, parse
    from ddbm_cli.registry.pipelines import is_pipeline

    found = None if is_pipeline(name) else parse(name)
    if isinstance(found, Entry):
        return found
    from ddbm_cli.models.resolve import described  # only what is in no registry needs torch

    return described(name)


weights_files.add(app)
