"""Model files: one safetensors file, the card in its header.

Tensors are read and written one by one, so a file needs its own size in memory and no second copy of it. Nothing in a
file is trusted before it has been compared: its header has a limit, and shapes come before data.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.files import replacing
from ddbm_cli.models.card import AGAIN, ModelCard, read_card
from ddbm_cli.registry.header import LONGEST_HEADER, wrong_kind

__all__ = ["read_header", "read_model", "write_model", "write_tensors"]

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The format's names of types."""


def write_model(
    path: Path, card: ModelCard, weights: Mapping[str, Tensor], *, dtype: torch.dtype | None = None
) -> None:
    """Write weights and card, atomically: the file is either the old one or the whole new one.

    dtype: what the weights are converted to, one at a time; None keeps each as it is.
    """
    write_tensors(path, weights, card.header(), dtype=dtype)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str], *, dtype: torch.dtype | None = None
) -> None:
    """Write a safetensors file atomically and durably.

    The library's own function takes all tensors in their final form at once. For a model that is converted, or in
    channels-last format, that is a second copy. Here each tensor is converted only while it is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    types = {name: dtype if dtype and tensor.is_floating_point() else tensor.dtype for name, tensor in tensors.items()}
    order = sorted(
        tensors, key=lambda name: (-types[name].itemsize, name)
    )  # wider types first, so that all are aligned
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(_layout({name: (types[name], tensors[name].shape) for name in order}, header))
        for name in order:
            tensor = tensors[name].detach().to("cpu", types[name]).contiguous()
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def _layout(tensors: Mapping[str, tuple[torch.dtype, torch.Size]], header: Mapping[str, str]) -> bytes:
    """Return the header of the file: the length of the table, and the table in JSON, padded to 8 bytes."""
    table: dict[str, Any] = {"__metadata__": dict(header)}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + shape.numel() * dtype.itemsize
        table[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    body = json.dumps(table, separators=(",", ":")).encode()
    body += b" " * (-len(body) % 8)
    return len(body).to_bytes(8, "little") + body


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file, for `keys`, `metadata`, `get_slice` and `get_tensor`, which reads one tensor.

    Raises:
        ModelError: the file is missing, or no safetensors file, or its data cannot be read.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no such model file", hint="specify a .safetensors file, or leave out -m for the default model"
        )
    try:
        with path.open("rb") as file:
            begin = file.read(512)
        kind = wrong_kind(begin)
        if kind:
            raise ModelError(f"{path}: {kind[0]}", hint=kind[1])
        length = int.from_bytes(begin[:8], "little")
        if LONGEST_HEADER < length < path.stat().st_size:
            raise ModelError(f"{path}: its header has {length:,} bytes, more than any model's", hint=AGAIN)
        # Mapped files count twice while they are copied: as the copy, and as pages of the file.
        with safe_open(path, framework="pt", backend="pread") as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        gist = " ".join(str(error).split())[:120]
        raise ModelError(f"{path}: not a readable safetensors file ({gist})", hint=AGAIN) from None


def read_header(path: Path) -> dict[str, str]:
    """Return a safetensors file's metadata, without reading its tensors.

    Raises:
        ModelError: the file is missing, or no safetensors file.
    """
    with open_tensors(path) as file:
        return file.metadata() or {}


def read_model(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Return card and weights of a model file.

    Raises:
        ModelError: the file is missing, damaged, or has no card.
    """
    with open_tensors(path) as file:
        card = read_card(file.metadata() or {}, file=path.name)
        return card, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
