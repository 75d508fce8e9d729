"""Model files: one safetensors file, the card in its header."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ddbm_cli.errors import ModelError
from ddbm_cli.models.card import ModelCard, read_card
from ddbm_cli.registry.records import digest

__all__ = ["digest", "read_header", "read_model", "write_model", "write_tensors"]


def write_model(path: Path, card: ModelCard, weights: Mapping[str, Tensor]) -> None:
    """Write weights and card, atomically: the file is either the old one or the whole new one."""
    write_tensors(path, weights, card.header())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: dict[str, str]) -> None:
    """Write a safetensors file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, header)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # the library writes for the owner alone, and models are for sharing
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, str]:
    """Return a safetensors file's metadata, without reading its tensors.

    Raises:
        ModelError: the file is missing, or no safetensors file.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no such model file", hint="name a .safetensors file, or leave out -m for the built-in"
        )
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})", hint="get the file anew") from None


def read_model(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Return card and weights of a model file.

    Raises:
        ModelError: the file is missing, damaged, or has no card.
    """
    card = read_card(read_header(path), file=path.name)
    try:
        return card, load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: its tensors are not readable ({error})", hint="get the file anew") from None
