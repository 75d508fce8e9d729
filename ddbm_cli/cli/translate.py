"""`ddbm translate`: options in, events out."""

import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ddbm_cli.cli import console, options
from ddbm_cli.foundation.errors import UsageError

T = TypeVar("T")


def translate(
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="File, folder, quoted pattern, or - for standard input.")
    ] = None,
    target: Annotated[
        Path | None, typer.Argument(metavar="OUTPUT", help="File, folder, or -. Beside the input if left out.")
    ] = None,
    source_option: Annotated[str | None, typer.Option("-i", "--input", hidden=True)] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    nfe: options.NFE = None,
    steps: options.Steps = None,
    sampler: options.Sampler = None,
    grid: options.Grid = None,
    seed: options.Seed = 0,
    method: options.Method = "bridge",
    source_model: options.SourceModel = None,
    strength: options.Strength = None,
    prompt: options.Prompt = "",
    class_name: options.Class = None,
    guidance_scale: options.GuidanceScale = None,
    image_guidance_scale: options.ImageGuidanceScale = 1.0,
    repeats: options.Repeats = 1,
    guide: options.Guide = None,
    mask: options.Mask = None,
    fit: options.Fit = None,
    keep_size: options.KeepSize = False,
    format: options.Format = None,
    quality: options.Quality = 95,
    output: options.Output = None,
    recursive: options.Recursive = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    batch_size: options.BatchSize = "auto",
    quiet: options.Quiet = False,
    json: options.Json = False,
    no_progress: options.NoProgress = False,
) -> None:
    """Translate pictures with a diffusion bridge.

    A finished output is kept, so the same command goes on where it was stopped; a broken picture costs only itself.

    \b
    Examples:
      ddbm translate sketches/ pictures/                 a folder, by the built-in model
      ddbm translate sketch.png picture.png --nfe 20 --seed 7
      ddbm translate "drawings/*.jpg" out/ --sampler heun:churn=0.33 --nfe 119
      ddbm translate - - < sketch.png > picture.png      a pipe
      ddbm translate cats/ dogs/ --method ddib --source-model runs/cats -m runs/dogs
      ddbm translate strokes/ out/ -m runs/prior --method sdedit --strength 0.2,0.6
      ddbm translate photo.png new.png -m runs/prior --method sdedit --mask mask.png --repeats 2

    \b
    Exit codes: 0 all done, 1 nothing done, 2 wrong usage, 3 some pictures failed,
    4 no model, 130 interrupted.
    """
    source, target = _ends(source, source_option, "INPUT"), _ends(target, output, "OUTPUT")
    if source is None:
        raise UsageError("no input", hint="name a picture or a folder: ddbm translate sketches/ pictures/")
    piped = str(target) == "-" or (source == "-" and target is None)
    if piped and json:
        raise UsageError("--json and the picture would both go to standard output", hint="name a file for the picture")
    if piped and not dry_run and sys.stdout.isatty():
        raise UsageError("a picture would go to the terminal", hint="add > picture.png, or name a file for it")
    batch, shard = options.number("--batch-size", batch_size), options.shard()

    strengths = options.numbers("--strength", strength)

    from ddbm_cli.tasks.translate import request, run, sweep

    asked = request(
        source=source,
        output=target,
        model=model,
        sampler=sampler,
        grid=grid,
        steps=steps,
        nfe=nfe,
        seed=seed,
        batch_size=batch,
        device=device,
        dtype=dtype,
        recursive=recursive,
        format=format,
        quality=quality,
        keep_size=keep_size,
        fit=fit,
        overwrite=overwrite,
        dry_run=dry_run,
        prompt=prompt,
        class_name=class_name,
        guidance_scale=guidance_scale,
        image_guidance_scale=image_guidance_scale,
        shard=shard,
        method=method,
        source_model=source_model,
        strength=strengths[0] if strengths else None,
        repeats=repeats,
        guide=guide,
        mask=mask,
    )
    if len(strengths) > 1:
        events = sweep(asked, strengths)
    else:
        events = run(asked, stdin=sys.stdin.buffer, stdout=sys.stdout.buffer)
    raise typer.Exit(console.render(events, quiet=quiet or shard[0] > 0, json=json, progress=not no_progress))


def _ends(argument: T | None, option: T | None, name: str) -> T | None:
    """Return what is given, by place or by option."""
    if argument is not None and option is not None:
        raise UsageError(f"{name} is given twice", hint="give it by its place or by its option")
    return argument if argument is not None else option
