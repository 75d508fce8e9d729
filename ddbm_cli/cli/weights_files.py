"""`ddbm weights import`, `export` and `push`: model files from others and for others; options in, results out."""

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer

from ddbm_cli.cli import console, early, signature
from ddbm_cli.cli.help import Command
from ddbm_cli.foundation.events import Imported, Uploaded
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import Records
from ddbm_cli.options.weights import ExportOptions, ImportOptions, PushOptions

T = TypeVar("T")


def add(app: typer.Typer) -> None:
    """Give an app these commands."""
    for name, function in (("import", import_), ("export", export), ("push", push)):
        app.command(name, cls=Command)(function)


@signature.takes(ImportOptions, Records)
def import_(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Convert weights of other programs to a model file.

    No code in the file is run, and names and shapes are compared with the model's card. Then a few network
    evaluations on a known image check that the model denoises.

    \b
    Examples:
      ddbm weights import e2h_ema_0.9999_420000.pt --like edges2handbags-vp-64
      ddbm weights import old.ckpt --like diode-vp-256 -o diode.safetensors
    """
    asked = from_options(ImportOptions, given, command="weights import")
    early.file(asked.file)
    early.free(asked.output or Path(f"{asked.like or asked.file.stem}.safetensors"), overwrite=asked.overwrite)
    if asked.like is not None:
        early.entry(asked.like)

    from ddbm_cli.tasks.exchange import import_model

    report, found = import_model(
        asked.file, like=asked.like, output=asked.output, dtype=asked.dtype, overwrite=asked.overwrite
    )
    imported = Imported(
        output=report.output,
        model=report.card.name,
        parameters=report.parameters,
        dtype=report.dtype,
        bytes=report.size_out,
        notes=report.notes,
        figures=found.figures,
        faults=found.faults,
        fingerprint=found.fingerprint,
    )
    raise typer.Exit(console.render([imported], json=printed.get("json", False)))


@signature.takes(ExportOptions, Records)
def export(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Write a model as one file with its card, or as a folder in diffusers' layout.

    `ddbm weights import` reads such a folder with the same weights and card. Diffusers itself loads at most the network
    of such a folder (UNet2DModel), and no pipeline: it has no bridges. Networks with patches and pix2pix are for ddbm
    alone; the result line says which case it is.

    \b
    Examples:
      ddbm weights export runs/mine mine.safetensors --dtype fp16
      ddbm weights export edges2handbags-vp-64 bags/ --format diffusers
      ddbm weights export runs/cats-dogs to-cats.safetensors --direction BtoA
    """
    asked = from_options(ExportOptions, given, command="weights export")
    early.free(asked.output, overwrite=asked.overwrite)
    early.model(asked.model)

    from ddbm_cli.tasks.exchange import export_model

    options: dict[str, Any] = {"direction": asked.direction, "dtype": asked.dtype, "overwrite": asked.overwrite}
    steps = export_model(asked.model, asked.output, layout=asked.format, **options)
    events = _with_result(steps, lambda done: done)
    raise typer.Exit(console.render(events, json=printed.get("json", False)))


@signature.takes(PushOptions, Records)
def push(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Upload a model to a repository on the hub, with a README of its licence, data, scores and commands.

    A new repository is private, unless --public is passed. Log in with HF_TOKEN or `hf auth login`.

    \b
    Examples:
      ddbm weights push runs/mine me/my-bridge --dry-run
      ddbm weights push runs/mine me/my-bridge --dtype fp16 --public
    """
    asked = from_options(PushOptions, given, command="weights push")
    early.model(asked.model)

    from ddbm_cli.tasks.exchange import push_model

    events = _with_result(
        push_model(asked.model, asked.repo, private=not asked.public, dtype=asked.dtype, dry_run=asked.dry_run),
        lambda done: Uploaded(url=done.url, files=done.files, dry_run=asked.dry_run),
    )
    raise typer.Exit(console.render(events, json=printed.get("json", False)))


def _with_result(steps: Generator[Any, None, T], event: Callable[[T], Any]) -> Iterator[Any]:
    """Yield the events of a generator, and what it returns as the last event."""
    yield event((yield from steps))
