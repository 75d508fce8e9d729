"""Models from others and for others: import with a self-check, export, push."""

import os
from dataclasses import replace
from pathlib import Path

from ddbm_cli.errors import UsageError
from ddbm_cli.models.importers import ImportReport, import_file
from ddbm_cli.models.selfcheck import SelfCheck, check_file
from ddbm_cli.registry import Entry, read_registry


def import_model(
    source: Path, *, like: str | None = None, output: Path | None = None, dtype: str | None = None, overwrite: bool
) -> tuple[ImportReport, SelfCheck]:
    """Make a model file of a foreign one, and look at what it does.

    Args:
        source: a PyTorch or safetensors file, or a folder in the layout of diffusers.
        like: the registry's name of the model that it is; None for files that carry a card.
        output: the model file; NAME.safetensors in the working folder if not given.
        dtype: what to convert to; None keeps the file's own.
        overwrite: replace an output that is there.

    Raises:
        UsageError: no such name, or the output is there.
        ModelError: the file cannot be read, is not what its card says, or fails the self-check.
    """
    entry = _entry(like) if like else None
    target = output or Path(f"{like or source.stem}.safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already", hint="name another with -o, or add --overwrite")
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        report = import_file(source, fresh, entry, dtype=dtype)
        found = check_file(fresh, entry.fingerprint if entry else ())
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return replace(report, output=target), found


def _entry(name: str) -> Entry:
    entries = read_registry()
    if name not in entries:
        raise UsageError(f"no model '{name}' in the registry", hint=f"there are: {', '.join(entries)}")
    return entries[name]
