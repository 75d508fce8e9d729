"""`ddbm data`: make data to train on; options in, events out."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ddbm_cli.cli import console
from ddbm_cli.cli.help import Command, Group

app = typer.Typer(no_args_is_help=True, help="Make data to train on.", cls=Group)


class SketchStyle(StrEnum):
    """How sketches are drawn."""

    ink = "ink"
    pencil = "pencil"
    mixed = "mixed"


@app.callback()
def group() -> None:
    """Make data to train on."""


@app.command(cls=Command)
def edges(
    pictures: Annotated[Path, typer.Argument(help="Folder of pictures.", show_default=False)],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the pairs.", show_default=False)],
    size: Annotated[int, typer.Option(help="Pixels of a side.", min=8, max=2048)] = 64,
    style: Annotated[
        SketchStyle, typer.Option(help="Black ink, coloured pencil, or some of each.")
    ] = SketchStyle.mixed,
    pencil_share: Annotated[float, typer.Option(help="Share in pencil, for --style mixed.", min=0, max=1)] = 0.6,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Of the small differences between sketches.")] = 0,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Sub-folders too; mirrored in OUT.")] = False,
    split_by: Annotated[
        Path | None, typer.Option(help="Table with columns file and split: makes OUT/SPLIT/A and OUT/SPLIT/B.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make pairs again that are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON record a line on standard output.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No bars.")] = False,
) -> None:
    """Draw sketches of pictures: pairs to train a sketch-to-picture model on.

    OUT/A gets the sketches, OUT/B the pictures on white paper, under the same name. Finished pairs are kept,
    so the same command goes on where it stopped.

    Examples:

      ddbm data edges photos/ pairs/

      ddbm data edges photos/ pairs/ --style pencil --size 128 -r

      ddbm data edges photos/ pairs/ --split-by index.tsv     pairs/train/A, pairs/train/B, pairs/val/A ...
    """
    from ddbm_cli.tasks.edges import EdgesRequest, run

    request = EdgesRequest(
        pictures=pictures,
        output=output,
        size=size,
        style=style.value,
        pencil_share=pencil_share,
        seed=seed,
        recursive=recursive,
        split_by=split_by,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    raise typer.Exit(console.render(run(request), quiet=quiet, json=json, progress=not no_progress))
