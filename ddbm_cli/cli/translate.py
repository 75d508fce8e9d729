"""`ddbm translate`: options in, events out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ddbm_cli.cli import console
from ddbm_cli.errors import UsageError

MODEL, SAMPLING, FILES, SPEED, OUTPUT = "Model", "Sampling", "Files", "Speed", "What is printed"


def translate(
    source: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="File, folder, quoted pattern, or - for standard input.")
    ] = None,
    target: Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="File, folder, or -.")] = None,
    source_option: Annotated[str | None, typer.Option("-i", "--input", help="The same as INPUT.", hidden=True)] = None,
    target_option: Annotated[Path | None, typer.Option("-o", "--output", help="The same as OUTPUT.")] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A .safetensors file; built-in if left out.", rich_help_panel=MODEL)
    ] = None,
    nfe: Annotated[
        int | None, typer.Option(help="Budget of network evaluations a picture.", rich_help_panel=SAMPLING)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Sampler steps, in place of --nfe.", rich_help_panel=SAMPLING)
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="heun:churn=0.33, dbim:eta=0, dbim-2, dbim-3, ode, euler, sde ...", rich_help_panel=SAMPLING
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Times: karras:rho=7, uniform, log-snr.", rich_help_panel=SAMPLING)
    ] = None,
    seed: Annotated[
        int, typer.Option("-s", "--seed", help="With a picture's name, decides its noise.", min=0, rich_help_panel=SAMPLING)
    ] = 0,
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Sub-folders too, mirrored in the output.", rich_help_panel=FILES)
    ] = False,
    format: Annotated[
        str | None, typer.Option("-f", "--format", help="png, jpg, webp, tiff, avif.", rich_help_panel=FILES)
    ] = None,
    quality: Annotated[int, typer.Option(help="Of jpg, webp, avif.", min=1, max=100, rich_help_panel=FILES)] = 95,
    fit: Annotated[
        str | None, typer.Option(help="pad, crop or stretch to the model's square.", rich_help_panel=FILES)
    ] = None,
    keep_size: Annotated[
        bool, typer.Option("--keep-size", help="Enlarge to the input's size.", rich_help_panel=FILES)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make outputs anew that are there.", rich_help_panel=FILES)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made, and stop.", rich_help_panel=FILES)
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option("-b", "--batch-size", help="Pictures at once.", min=1, rich_help_panel=SPEED)
    ] = None,
    device: Annotated[
        str, typer.Option("-d", "--device", help="auto, cpu, cuda:1, mps.", rich_help_panel=SPEED)
    ] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.", rich_help_panel=SPEED)] = "auto",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Paths and errors only.", rich_help_panel=OUTPUT)] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON record a line.", rich_help_panel=OUTPUT)] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No bars.", rich_help_panel=OUTPUT)] = False,
) -> None:
    """Translate pictures with a diffusion bridge.

    A finished output is kept, so the same command goes on where it was stopped; a broken picture costs only itself.

    Examples:

      ddbm translate sketches/ pictures/                 the built-in model, a folder

      ddbm translate sketch.png -o picture.png --nfe 20 --seed 7

      ddbm translate "drawings/*.jpg" out/ --sampler heun:churn=0.33 --nfe 119

      ddbm translate - - < sketch.png > picture.png      a pipe

    Exit codes: 0 all done, 1 nothing done, 2 wrong usage, 3 some pictures failed, 4 no model, 130 interrupted.
    """
    source, target = source or source_option, target or target_option
    if source is None:
        raise UsageError("no input", hint="name a picture or a folder: ddbm translate sketches/ pictures/")

    from pydantic import ValidationError

    from ddbm_cli.tasks.translate import TranslateRequest, run, translate_stream

    try:
        request = TranslateRequest(
            source=source,
            output=target,
            model=model,
            sampler=sampler,
            grid=grid,
            steps=steps,
            nfe=nfe,
            seed=seed,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            recursive=recursive,
            format=format,
            quality=quality,
            keep_size=keep_size,
            fit=fit,  # type: ignore[arg-type]
            overwrite=overwrite,
            dry_run=dry_run,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]} {first['input']}: does not fit", hint=first["msg"]) from None
    if source == "-" or str(target) == "-":
        if source != "-" or (target is not None and str(target) != "-"):
            raise UsageError("- stands for both ends of a pipe", hint="ddbm translate - - < sketch.png > picture.png")
        events = translate_stream(request, sys.stdin.buffer, sys.stdout.buffer)
        raise typer.Exit(console.render(events, quiet=quiet, json=False, progress=not no_progress))
    raise typer.Exit(console.render(run(request), quiet=quiet, json=json, progress=not no_progress))
