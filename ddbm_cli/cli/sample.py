"""`ddbm sample`: options in, events out."""

from pathlib import Path
from typing import Annotated

import typer

from ddbm_cli.cli import console, options

Source = Annotated[
    str | None, typer.Argument(metavar="[SOURCES]", help="File, folder or quoted pattern, for a bridge.")
]
Folder = Annotated[
    Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where 000000.png ... or NAME/000.png ... go.")
]
Number = Annotated[int, typer.Option("-n", "--number", metavar="N", help="Pictures in all, or of each source.")]
Interpolate = Annotated[
    int,
    typer.Option(
        metavar="K",
        help="K pictures on the way from each draw of a source to the next.",
        rich_help_panel=options.SAMPLING,
    ),
]
Encode = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="True pictures of the sources: draw 0 is theirs, to noise and back (DBIM).",
        rich_help_panel=options.SAMPLING,
    ),
]
Spread = Annotated[
    bool,
    typer.Option(
        "--spread", help="NAME-spread.png: where draws differ, white by 64 of 255.", rich_help_panel=options.FILES
    ),
]
Sheet = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The first ones side by side, png.", rich_help_panel=options.FILES)
]
Npz = Annotated[
    Path | None, typer.Option(metavar="FILE", help="All in one array, for evaluators.", rich_help_panel=options.FILES)
]


def sample(
    output: Folder,
    source: Source = None,
    number: Number = 16,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    nfe: options.NFE = None,
    steps: options.Steps = None,
    sampler: options.Sampler = None,
    grid: options.Grid = None,
    seed: options.Seed = 0,
    prompt: options.Prompt = "",
    class_name: options.Class = None,
    guidance_scale: options.GuidanceScale = None,
    image_guidance_scale: options.ImageGuidanceScale = 1.0,
    interpolate: Interpolate = 0,
    encode: Encode = None,
    fit: options.Fit = None,
    spread: Spread = False,
    sheet: Sheet = None,
    npz: Npz = None,
    recursive: options.Recursive = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    batch_size: options.BatchSize = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Make pictures from noise, with a prior; or many draws of each source, with a bridge.

    Finished ones are kept: the same command goes on where it was stopped, and a larger -n adds to the folder.

    \b
    Examples:
      ddbm sample -n 64 -o pictures/ -m runs/prior --sheet sheet.png
      ddbm sample -n 50000 -o pictures/ -m runs/prior --sampler dbim-3 --nfe 12 --npz all.npz
      ddbm sample sketches/ -n 8 -o draws/ --spread --sheet sheet.png
      ddbm sample sketch.png -n 2 --interpolate 6 -o way/
    """
    batch, shard = options.number("--batch-size", batch_size), options.shard()

    from ddbm_cli.tasks.sample import request, run

    asked = request(
        source=source,
        output=output,
        number=number,
        model=model,
        sampler=sampler,
        grid=grid,
        steps=steps,
        nfe=nfe,
        seed=seed,
        batch_size=batch,
        device=device,
        dtype=dtype,
        overwrite=overwrite,
        dry_run=dry_run,
        prompt=prompt,
        class_name=class_name,
        guidance_scale=guidance_scale,
        image_guidance_scale=image_guidance_scale,
        shard=shard,
        interpolate=interpolate,
        encode=encode,
        recursive=recursive,
        fit=fit,
        spread=spread,
        sheet=sheet,
        npz=npz,
    )
    raise typer.Exit(console.render(run(asked), quiet=quiet or shard[0] > 0, json=json, progress=not no_progress))
