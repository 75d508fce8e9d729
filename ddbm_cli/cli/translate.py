"""`ddbm translate`: options in, events out."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer

from ddbm_cli.cli import console, early, preview, signature, terminal, training
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import PANELS, Printed
from ddbm_cli.options.sweep import read_axes
from ddbm_cli.options.translate import TranslateCommand, TranslateRequest

T = TypeVar("T")


@signature.takes(TranslateCommand, Printed, panels=PANELS)
def translate(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Translate images with a diffusion bridge.

    Finished outputs are kept, so the same command resumes an interrupted run. A broken image is skipped and reported.

    \b
    Examples:
      ddbm translate sketches/ pictures/         a folder, default model
      ddbm translate sketch.png picture.png --nfe 20 --seed 7
      ddbm translate "drawings/*.jpg" out/ --sampler heun:churn=0.33 --nfe 119
      ddbm translate - - < sketch.png > picture.png     a pipe
      ddbm translate in/ out/ -m runs/dogs --method ddib --source-model runs/cats
      ddbm translate strokes/ out/ --method sdedit --strength 0.2,0.6
      ddbm translate scans/ pictures/ --watch    what arrives, until Ctrl-C
      ddbm translate photo.png new.png --method sdedit --mask m.png --repeats 2

    \b
    Exit codes: 0 all done, 1 nothing done, 2 wrong usage, 3 some images failed,
    4 model not available, 130 interrupted.
    """
    shown = Printed(**printed)
    asked = from_options(TranslateCommand, given, command="translate")
    digest = ""
    if asked.from_image is not None:
        early.made(asked.from_image)
        from ddbm_cli.tasks.reuse import reuse

        given, digest, words = reuse(asked.from_image, given)
        asked = from_options(TranslateCommand, given, command="translate")
        if not shown.quiet:
            terminal.fact("From", f"{asked.from_image}: {words}")
    source = _end(asked.source, asked.source_option, "INPUT")
    output = _end(asked.output, asked.output_option, "OUTPUT")
    if source is None:
        raise UsageError("no input", hint="pass an image or a folder: ddbm translate sketches/ pictures/")
    piped = output == "-" or (source == "-" and output is None)
    if piped and shown.json:
        raise UsageError("--json and the image would both go to standard output", hint="pass a file for the image")
    if piped and terminal.output_is_closed():
        raise UsageError("standard output is closed", hint="pass a file for the image")
    if piped and not asked.dry_run and terminal.is_terminal(sys.stdout):
        raise UsageError("an image would go to the terminal", hint="add > picture.png, or pass a file for it")
    if asked.preview:
        preview.check()
    shard = signature.shard()
    common = {field.name: getattr(asked, field.name) for field in dataclasses.fields(TranslateRequest)}
    strengths = common.pop("strength")
    first = strengths[0] if strengths else None
    common |= {"to_folder": output is not None and output.endswith(("/", os.sep))}
    target = None if output is None else Path(output)
    common |= {"strength": first, "model_sha256": digest}
    request = TranslateRequest(**common | {"source": source, "output": target, "shard": shard})
    axes = read_axes(asked.sweep)
    if axes and len(strengths) > 1:
        raise UsageError("--sweep and several strengths are mutually exclusive", hint="write --sweep strength=0.2,0.4")
    if asked.watch and len(strengths) > 1:
        raise UsageError("--watch takes one strength", hint="pass one value with --strength")
    early.translate(request, watch=asked.watch)

    from ddbm_cli.tasks.sweep import grid, sweep
    from ddbm_cli.tasks.translate import run

    how: dict[str, Any] = {"quiet": shown.quiet or shard[0] > 0, "json": shown.json, "preview": asked.preview}
    how |= {"progress": not shown.no_progress}
    if asked.watch:
        from ddbm_cli.tasks.watch import watch

        with training.stop_between_steps() as stop:
            raise typer.Exit(console.render(watch(request, stop=stop), **how))
    if axes:
        events = grid(request, axes)
    elif len(strengths) > 1:
        events = sweep(request, strengths)
    else:
        events = run(request, stdin=sys.stdin.buffer, stdout=sys.stdout.buffer)
    raise typer.Exit(console.render(events, **how))


def _end(argument: T | None, option: T | None, name: str) -> T | None:
    """Return what is given, by place or by option."""
    if argument is not None and option is not None:
        raise UsageError(f"{name} is given twice", hint="give it by its place or by its option")
    return argument if argument is not None else option
