"""`ddbm data`: create, check and preview training data; options in, events out."""

from collections.abc import Mapping
from typing import Any

import typer

from ddbm_cli.cli import console, early, signature
from ddbm_cli.cli.help import Command, Group
from ddbm_cli.options import groups
from ddbm_cli.options.captions import CAPTIONS, FILTERS
from ddbm_cli.options.check import from_options
from ddbm_cli.options.data import EDITS, SKETCH, CheckRequest, EdgesRequest, InstructRequest, PreviewRequest

app = typer.Typer(no_args_is_help=True, help="Create, check and preview training data.", cls=Group)


@app.callback()
def group() -> None:
    """Create, check and preview training data."""


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
      ddbm data edges photos/ pairs/ --split-by index.tsv
    """
    shown = groups.Printed(**printed)
    request = from_options(EdgesRequest, given, command="data edges")

    from ddbm_cli.tasks.edges import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))


@app.command(cls=Command)
@signature.takes(InstructRequest, groups.Printed, panels=("", EDITS, CAPTIONS, FILTERS, *groups.PANELS))
def instruct(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Make pairs of images with the instruction of an edit, to train a model that edits by instruction.

    The images before and after the edit are written to OUT/before and OUT/after, and the list of them with their
    instructions to OUT/pairs.jsonl. The images of a folder are edited in random ways, and edits that change too little
    are left out. Of a list of captions, a text-to-image model makes the images, and CLIP chooses among them
    (InstructPix2Pix). Finished pairs are kept, so the same command resumes an interrupted run.

    \b
    Examples:
      ddbm data instruct photos/ pairs/
      ddbm data instruct photos/ pairs/ --edits recolour,flip --per-image 2 -r
      ddbm data instruct emoji/ pairs/ --variants index.tsv --split-by index.tsv
      ddbm data instruct captions.jsonl pairs/ -m diffusers:FOLDER
      ddbm data instruct a.txt out/ -m MODEL --endpoint URL --endpoint-model NAME
    """
    shown = groups.Printed(**printed)
    request = from_options(InstructRequest, given, command="data instruct")
    early.instruct(request)

    from ddbm_cli.tasks.instruct import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))


@app.command(cls=Command)
@signature.takes(CheckRequest, groups.Printed, panels=("", *groups.PANELS))
def check(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Check data before training: layout, names, sizes, broken, identical, swapped and repeated pairs.

    Every image is read, and nothing is changed. With --fix FILE.csv a list of the pairs that can be used is written,
    which ddbm train takes in place of the folders.

    \b
    Examples:
      ddbm data check pairs/
      ddbm data check pairs.csv --size 256
      ddbm data check pairs/ --fix good.csv && ddbm train good.csv

    \b
    Exit codes: 0 every pair can be used, perhaps with doubts, 1 none can,
    3 some cannot.
    """
    shown = groups.Printed(**printed)
    request = from_options(CheckRequest, given, command="data check")
    for path in request.data:
        early.exists(path, what="data")

    from ddbm_cli.tasks.data_check import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))


@app.command(cls=Command)
@signature.takes(PreviewRequest, groups.Printed, panels=("", *groups.PANELS))
def preview(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Show augmented pairs on one sheet, exactly as the network gets them: source left, target right.

    \b
    Examples:
      ddbm data preview pairs/
      ddbm data preview pairs/ --size 128 --augment flip -n 32 -o sheet.png
    """
    shown = groups.Printed(**printed)
    request = from_options(PreviewRequest, given, command="data preview")
    for path in request.data:
        early.exists(path, what="data")

    from ddbm_cli.tasks.data_preview import run

    raise typer.Exit(console.render(run(request), quiet=shown.quiet, json=shown.json, progress=not shown.no_progress))
