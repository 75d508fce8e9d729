"""Exchange of models with other programs: import with a self-check, export, upload."""

import tempfile
from dataclasses import replace
from pathlib import Path

from ddbm_cli.foundation.devices import DTYPES, is_finite
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Exported
from ddbm_cli.foundation.files import replacing
from ddbm_cli.models import locating, write_model
from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.models.directions import one_direction
from ddbm_cli.models.importers import ImportReport, import_file
from ddbm_cli.models.layout import README, write_folder
from ddbm_cli.models.load import open_model
from ddbm_cli.models.readme import model_readme
from ddbm_cli.models.selfcheck import SelfCheck, check_file
from ddbm_cli.registry import Entry, read_registry
from ddbm_cli.registry.locate import Locating
from ddbm_cli.registry.reference import MAIN_FILE
from ddbm_cli.registry.upload import Upload, upload

LAYOUTS = ("safetensors", "diffusers")


def import_model(
    source: Path, *, like: str | None = None, output: Path | None = None, dtype: str | None = None, overwrite: bool
) -> tuple[ImportReport, SelfCheck]:
    """Convert weights of another program to a model file, and run its self-check.

    Args:
        source: a PyTorch or safetensors file, or a folder in the layout of diffusers.
        like: the model's name in the registry; None for files that have a card.
        output: the model file; NAME.safetensors in the working folder if not given.
        dtype: "fp32", "fp16" or "bf16" to convert; None keeps the file's own.
        overwrite: replace an existing output.

    Raises:
        UsageError: there is no such name, or the output exists.
        ModelError: the file cannot be read, does not fit its card, or fails the self-check.
    """
    entry = _entry(like) if like else None
    target = output or Path(f"{like or source.stem}.safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already", hint="choose another output with -o, or pass --overwrite")
    with replacing(target) as fresh:
        report = import_file(source, fresh, entry, dtype=dtype)
        found = check_file(fresh, entry.fingerprint if entry else (), name=source.name)
    return replace(report, output=target), found


def _entry(name: str) -> Entry:
    entries = read_registry()
    if name not in entries:
        raise UsageError(f"no model '{name}' in the registry", hint=f"choose one of: {', '.join(entries)}")
    return entries[name]


def export_model(
    reference: str,
    output: Path,
    *,
    layout: str = "safetensors",
    direction: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> Locating[Exported]:
    """Write a model as one file with its card, or as a folder in diffusers' layout; yield the events of its download.

    Args:
        reference: the model, as after -m.
        output: a file, or a folder.
        layout: "safetensors" or "diffusers".
        direction: the one to export of a model that has two; None for both, which the layout of diffusers cannot hold.
        dtype: "fp32", "fp16" or "bf16" to convert; None keeps the file's own.

    Raises:
        UsageError: the output exists, the layout or type is unknown, or no such direction.
        ModelError: the model is not available.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"unknown format '{layout}'", hint=f"choose one of: {', '.join(LAYOUTS)}")
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype '{dtype}'", hint=f"choose one of: {', '.join(DTYPES)}")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already", hint="choose another output, or pass --overwrite")
    with open_model((yield from locating(reference))) as (card, tensors):
        if card.directions and layout == "diffusers" and direction is None:
            raise UsageError(
                f"model '{card.name}' has two directions, and a diffusers folder holds one",
                hint="add --direction AtoB or --direction BtoA",
            )
        if direction is not None:
            card, tensors = one_direction(card, tensors, direction)
        weights = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a dict
    target = DTYPES[dtype] if dtype else None
    for name, value in weights.items():
        if target and not is_finite(value.to(target)):
            raise ModelError(f"{reference}: '{name}' has values out of the range of {dtype}", hint="use --dtype bf16")
    if layout == "safetensors":
        write_model(output, card, weights, dtype=target)
        return Exported(output=output, model=card.name, bytes=output.stat().st_size, loads=False)
    loads = write_folder(output, card, weights, dtype=target, readme=model_readme(card, file=str(output)))
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    return Exported(output=output, model=card.name, bytes=size, loads=loads)


def push_model(
    reference: str, repo: str, *, private: bool = True, dtype: str | None = None, dry_run: bool = False
) -> Locating[Upload]:
    """Upload a model to a repository of the hub, with a README; yield the events of its download.

    Raises:
        UsageError: an unknown type.
        ModelError: the model is not available, or the hub refuses the upload.
    """
    with tempfile.TemporaryDirectory(prefix="ddbm-push-") as folder:
        file = Path(folder) / MAIN_FILE
        yield from export_model(reference, file, dtype=dtype)
        card = read_card(read_header(file), file=file.name)
        (Path(folder) / README).write_text(model_readme(card, repo=repo), encoding="utf-8")
        return upload(Path(folder), repo, private=private, dry_run=dry_run)
