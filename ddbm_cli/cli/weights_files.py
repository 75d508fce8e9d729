"""`ddbm weights import`, `export` and `push`: model files from others and for others; options in, results out."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ddbm_cli.cli import console
from ddbm_cli.cli.help import Command
from ddbm_cli.foundation.events import Imported, Uploaded

T = TypeVar("T")

Dtype = Annotated[str | None, typer.Option(metavar="NAME", help="fp32, fp16 or bf16; as the weights are by default.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="As after -m.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON record on standard output.")]


def add(app: typer.Typer) -> None:
    """Give an app these commands."""
    for name, function in (("import", import_), ("export", export), ("push", push)):
        app.command(name, cls=Command)(function)


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="A .pt, .ckpt or .safetensors file, or a folder of diffusers.", show_default=False),
    ],
    like: Annotated[str | None, typer.Option(metavar="NAME", help="The model that it is: ddbm weights list.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="NAME.safetensors by default.")] = None,
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a model file of others' weights.

    The file is not trusted: no code in it is run, and names and shapes are compared with the model's card. Then a few
    calls on a known picture show whether it denoises: a wrong schedule or clock leaves noise, or leaves the range.

    Examples:

      ddbm weights import e2h_ema_0.9999_420000.pt --like edges2handbags-vp-64

      ddbm weights import old.ckpt --like diode-vp-256 -o diode.safetensors --dtype fp16
    """
    from ddbm_cli.tasks.exchange import import_model

    report, found = import_model(file, like=like, output=output, dtype=dtype, overwrite=overwrite)
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
    raise typer.Exit(console.render([imported], json=json))


def export(
    model: Model,
    output: Annotated[Path, typer.Argument(help="A file, or for diffusers a folder.", show_default=False)],
    format: Annotated[
        str, typer.Option("-f", "--format", metavar="NAME", help="safetensors, or diffusers: a folder.")
    ] = "safetensors",
    dtype: Dtype = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a model for others: one file with its card, or a folder in diffusers' layout.

    A folder can be imported again, to the same weights and card.

    Examples:

      ddbm weights export runs/mine mine.safetensors --dtype fp16

      ddbm weights export edges2handbags-vp-64 bags/ --format diffusers
    """
    from ddbm_cli.tasks.exchange import export_model

    steps = export_model(model, output, layout=format, dtype=dtype, overwrite=overwrite)
    events = _with_result(steps, lambda done: done)
    raise typer.Exit(console.render(events, json=json))


def push(
    model: Model,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A repository of the hub.", show_default=False)],
    public: Annotated[bool, typer.Option("--public", help="For all to see, if the repository is new.")] = False,
    dtype: Dtype = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and stop.")] = False,
    json: Json = False,
) -> None:
    """Put a model into a repository of the hub, with a model card made of its own: licence, data, numbers, commands.

    A new repository is private, unless --public. HF_TOKEN, or `hf auth login`, says who you are.

    Examples:

      ddbm weights push runs/mine me/my-bridge --dry-run

      ddbm weights push runs/mine me/my-bridge --dtype fp16 --public
    """
    from ddbm_cli.tasks.exchange import push_model

    events = _with_result(
        push_model(model, repo, private=not public, dtype=dtype, dry_run=dry_run),
        lambda done: Uploaded(url=done.url, files=done.files, dry_run=dry_run),
    )
    raise typer.Exit(console.render(events, json=json))


def _with_result(steps: Generator[Any, None, T], event: Callable[[T], Any]) -> Iterator[Any]:
    """Yield the events of a generator, and what it returns as the last event."""
    yield event((yield from steps))
