"""`ddbm compare`: options in, events out."""

from pathlib import Path
from typing import Annotated

import typer

from ddbm_cli.cli import console, options


def compare(
    source: Annotated[
        str | None, typer.Argument(metavar="[INPUT]", help="File, folder or quoted pattern; own sketches if left out.")
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="METHOD", help="heun:churn=0.33,nfe=119, dbim:10, default ... Give it again."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", metavar="FILE", help="Ends in .html, .md, .json, .csv, .png. Give it again."),
    ] = None,
    targets: Annotated[
        Path | None, typer.Option("-t", "--targets", metavar="FOLDER", help="The truth, by the inputs' names.")
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    nfe: options.NFE = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Budget of time a picture, measured.", rich_help_panel="Sampling")
    ] = None,
    seed: options.Seed = 0,
    recursive: options.Recursive = False,
    trajectories: Annotated[int, typer.Option(metavar="N", help="Inputs whose way is shown.")] = 16,
    overwrite: options.Overwrite = False,
    batch_size: options.BatchSize = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Compare methods on the same pictures: one page with a table, a slider, and the way of each picture.

    A method is a sampler's name, its fields, and a budget; bare numbers are budgets. --nfe gives the same number of
    network evaluations to all that name none. Stopped and given again, the command goes on.

    \b
    Examples:
      ddbm compare                                       the built-in model on its own sketches
      ddbm compare sketches/ -t pictures/ --with ddbm:119 --with dbim:5,10,20 -o cmp.html -o cmp.png
      ddbm compare sketches/ --with dbim --with dbim:model=mine.safetensors --nfe 10
      ddbm compare sketches/ --seconds 0.5

    \b
    Exit codes: 0 all done, 1 nothing done, 2 wrong usage, 3 some methods or pictures failed, 4 no model.
    """
    batch = options.number("--batch-size", batch_size)

    from ddbm_cli.tasks.compare import request, run

    asked = request(
        source=source,
        methods=with_,
        outputs=output,
        targets=targets,
        model=model,
        device=device,
        dtype=dtype,
        nfe=nfe,
        seconds=seconds,
        seed=seed,
        recursive=recursive,
        trajectories=trajectories,
        overwrite=overwrite,
        batch_size=batch,
    )
    raise typer.Exit(console.render(run(asked), quiet=quiet, json=json, progress=not no_progress))
