"""Open the files that others write: PyTorch's archives and safetensors, mapped into memory, as flat names -> tensors.

No pickle is ever run: torch unpickles weights alone, and what is not weights ends the reading. Tensors stay on disk
until they are used, so opening costs no memory whatever sizes the file claims.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.checkpoint import open_tensors

DEEPEST = 4
"""Levels of containers, such as {"ema": {"model": {"name": tensor}}}."""

REFUSED: tuple[type[Exception], ...] = (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, OSError, MemoryError)
REFUSED += (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What torch is known to raise at damaged archives."""


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.pt`, `.pth`, `.ckpt` or `.safetensors` file; the levels of a name are joined by dots.

    Raises:
        ModelError: the file is missing, damaged, holds more than weights, or none.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file", hint="name a .pt, .pth, .ckpt or .safetensors file")
    tensors = _open_archive(path) if zipfile.is_zipfile(path) else _open_safetensors(path)
    if not tensors:
        raise ModelError(f"{path}: there are no weights in it", hint="name the file that holds the network's weights")
    return tensors


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        begin = file.read(9)
        if begin[:1] == b"\x80" and begin[8:] != b"{":  # a pickle; the length of a header may begin with that byte too
            raise ModelError(
                f"{path}: written by a PyTorch before 1.6, or no weights at all",
                hint="load and save it with a newer PyTorch, where you trust the file",
            )
    with open_tensors(path):  # for its checks and its words
        pass
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ModelError(f"{path}: its tensors are not readable ({error})", hint="get the file anew") from None


def _open_archive(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        # torch stores its data as it is, so that it can be mapped; a packed archive may unfold to any size.
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > path.stat().st_size:
            raise ModelError(f"{path}: a packed archive, no file of torch.save", hint="unpack it, and name the weights")
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except REFUSED as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise ModelError(
                f"{path}: holds more than weights ({foreign[1]}), which is not read, for it could run code",
                hint="where you trust the file, save its weights alone: torch.save(network.state_dict(), FILE)",
            ) from None
        gist = " ".join(str(error).split())[:120] or type(error).__name__
        raise ModelError(f"{path}: not a readable PyTorch file ({gist})", hint="get the file anew") from None
    return _flatten(content)


def _flatten(content: Any, prefix: str = "", level: int = 0) -> dict[str, Tensor]:
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or level > DEEPEST:
        return {}
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            if value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized:
                tensors[name] = value.detach()
        else:
            tensors |= _flatten(value, f"{name}.", level + 1)
    return tensors
