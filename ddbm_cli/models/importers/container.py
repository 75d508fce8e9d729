"""Open files of other programs: PyTorch's archives and safetensors, mapped into memory, as flat names -> tensors.

No code in a file is run, and every size is checked: see `importers.archive`. Tensors stay on disk until they are used.
"""

import re
import zipfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.card import AGAIN
from ddbm_cli.models.checkpoint import open_tensors
from ddbm_cli.models.importers.archive import read_archive
from ddbm_cli.registry.header import wrong_kind

DEEPEST = 4
"""Levels of containers, such as {"ema": {"model": {"name": tensor}}}."""

MOST_ITEMS = 200_000
"""Items of all containers together. Containers can be shared, so a small file can hold any number of them."""

LONGEST_NAME = 1_000

MOST_SHARED = 4
"""Bytes of all tensors per byte of the file: a tensor can be listed twice, as weights and as their average."""


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.pt`, `.pth`, `.ckpt` or `.safetensors` file; the levels of a name are joined by dots.

    Raises:
        ModelError: the file is missing, damaged, holds more than weights, or none.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file", hint="specify a .pt, .pth, .ckpt or .safetensors file")
    try:
        tensors = _flatten(read_archive(path), path) if zipfile.is_zipfile(path) else _open_safetensors(path)
    except OSError as error:
        raise ModelError(f"{path}: not readable ({error.strerror or error})", hint="check its permissions") from None
    if not tensors:
        raise ModelError(f"{path}: the file has no weights", hint="specify the file with the network's weights")
    claimed, size = sum(tensor.nbytes for tensor in tensors.values()), path.stat().st_size
    if claimed > MOST_SHARED * size:
        raise ModelError(f"{path}: tensors of {claimed:,} bytes in a file of {size:,}", hint=AGAIN)
    return tensors


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        begin = file.read(512)
    kind = wrong_kind(begin)
    if kind is None and begin[:1] == b"\x80" and begin[8:9] != b"{":  # a header's length may begin with that byte too
        raise ModelError(
            f"{path}: a pickle, as PyTorch wrote before 1.6, or no weights at all",
            hint="if you trust the file, load and save it with a newer PyTorch",
        )
    with open_tensors(path):  # for its checks and messages
        pass
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError) as error:  # a type that this torch does not have
        gist = re.sub(r"\s+", " ", str(error))[:120]
        raise ModelError(f"{path}: its tensors are not readable ({gist})", hint=AGAIN) from None


def _flatten(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of nested containers; those below DEEPEST levels are left out."""
    tensors: dict[str, Tensor] = {}
    left = deque([("", content, 0)])
    items = 0
    while left:
        prefix, container, level = left.popleft()
        pairs: Any = enumerate(container) if isinstance(container, list) else container.items()
        for key, value in pairs:
            items += 1
            if items > MOST_ITEMS:
                raise ModelError(f"{path}: more than {MOST_ITEMS:,} items", hint="specify a file of weights alone")
            if isinstance(key, str) and len(prefix) + len(key) > LONGEST_NAME:
                length = len(prefix) + len(key)
                raise ModelError(f"{path}: a tensor's name has {length:,} characters", hint=AGAIN)
            if isinstance(value, Tensor):
                tensors[f"{prefix}{key}"] = value
            elif isinstance(value, Mapping | list) and level < DEEPEST:
                left.append((f"{prefix}{key}.", value, level + 1))
    return tensors
