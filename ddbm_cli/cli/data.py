"""`ddbm data`: create training data; options in, events out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, signature
from ddbm_cli.cli.help import Command, Group
from ddbm_cli.options import groups
from ddbm_cli.options.check import from_options
from ddbm_cli.options.data import SKETCH, EdgesRequest

app = typer.Typer(no_args_is_help=True, help="Create training data.", cls=Group)


@app.callback()
def group() -> None:
    """Create training data."""


@app.command(cls=Command)
@signature.takes(EdgesRequest, groups.Printed, panels=("", SKETCH, *groups.PANELS))
def edges(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Draw sketches of images, as pairs to train a model on.

    The sketches are written to OUT/A, the images on a white background to OUT/B, with the same names. Finished pairs
    are kept, so the same command resumes an interrupted run.

    \b
    Examples:
      ddbm data edges photos/ pairs/
      ddbm data edges photos/ pairs/ --style pencil --size 128 -r
      ddbm data edges photos/ pairs/ --split-by index.tsv     pairs/train/A, pairs/train/B ...
    """
    shown = groups.Printed(**printed)
    request = from_options(EdgesRequest, given, command="data edges")

    from ddbm_cli.tasks.edges import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))
