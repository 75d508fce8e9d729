"""PyTorch's archives (torch.save since 1.6) without torch.load: a zip file of a pickle and the bytes of each storage.

`torch.load(weights_only=True)` runs no foreign code, yet allocates what a pickle asks for: `bytearray(10**10)` in
500 bytes, a storage of any size, a memo entry at 2**31. So the pickle is read by an interpreter of its own that has
only the instructions which torch.save writes for weights. It builds containers, strings and numbers, whose sizes are
bounded by the pickle's; everything else is refused. Tensors are views of the mapped file, compared with its size.
"""

import io
import mmap
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.card import AGAIN
from ddbm_cli.models.importers.weights_pickle import Refused, read_pickle

LARGEST_PICKLE = 2**22
"""Bytes of the largest pickle that is read: names and shapes of 25,000 tensors."""

LARGEST_DIRECTORY = 2**22
"""Bytes of the largest directory of an archive: names of 60,000 members."""

WEIGHTS_ALONE = "if you trust the file, save its weights alone: torch.save(network.state_dict(), FILE)"

DAMAGED = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, MemoryError, RuntimeError, ValueError),
    *(TypeError, LookupError, AttributeError, AssertionError, ArithmeticError),
)
"""What zipfile, pickle and torch raise at damaged archives."""


def read_archive(path: Path) -> Any:
    """Return the content of an archive: containers of numbers, strings, tensors and `Opaque`.

    Raises:
        ModelError: it is damaged, or holds more than weights.
        OSError: it cannot be read.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            _check_directory(file)
            warnings.simplefilter("ignore")  # the mapped bytes are never written to
            with zipfile.ZipFile(file) as archive:
                storages = _Storages(file, archive)
            content = read_pickle(storages.pickle, storages.storage)
    except Refused as error:
        hint = WEIGHTS_ALONE if "more than weights" in str(error) else AGAIN
        raise ModelError(f"{path}: {error}", hint=hint) from None
    except DAMAGED as error:
        raise _unreadable(path, error) from None
    return content if isinstance(content, dict | list) else {}


_end_record: Any = zipfile._EndRecData  # type: ignore[attr-defined]


def _check_directory(file: io.BufferedReader) -> None:
    """Refuse a directory of too many members before `zipfile` makes an object of each."""
    end = _end_record(file)
    if end and end[zipfile._ECD_SIZE] > LARGEST_DIRECTORY:  # type: ignore[attr-defined]
        raise Refused(f"its directory has {end[zipfile._ECD_SIZE]:,} bytes, more than that of any network")  # type: ignore[attr-defined]


def _unreadable(path: Path, error: Exception) -> ModelError:
    gist = re.sub(r"[^ -~]+", " ", str(error)[:1000])[:120].strip() or type(error).__name__
    return ModelError(f"{path}: not a readable PyTorch file ({gist})", hint=AGAIN)


class _Storages:
    """The bytes of an archive, mapped: the pickle, and one storage for each key."""

    def __init__(self, file: io.BufferedReader, archive: zipfile.ZipFile) -> None:
        self._members = {member.filename: member for member in archive.infolist()}
        pickles = [name for name in self._members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("a zip archive that torch.save did not write")
        self._root = pickles[0].removesuffix("data.pkl")
        # torch stores its data uncompressed, so that it can be mapped; a compressed member can unpack to any size.
        if any(member.compress_type != zipfile.ZIP_STORED for member in self._members.values()):
            raise Refused("a compressed archive, which torch.save does not write")
        self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._bytes("byteorder", default=b"little") != b"little":
            raise Refused("written on a big-endian machine")
        self._made: dict[str, Tensor] = {}

    @property
    def pickle(self) -> bytes:
        """The pickle's bytes."""
        begin, size = self._place("data.pkl")
        if size > LARGEST_PICKLE:
            raise Refused(f"its table of contents has {size:,} bytes, more than that of any network")
        return self._mapped[begin : begin + size]

    def storage(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """Return a storage as a tensor (count,) that views the mapped file."""
        if key not in self._made:
            begin, size = self._place(f"data/{key}")
            self._made[key] = _view(self._mapped, begin, size)
        body = self._made[key]
        if count * dtype.itemsize > len(body):
            raise Refused(f"storage '{key[:40]}' claims {count:,} numbers, and has {len(body):,} bytes")
        return body[: count * dtype.itemsize].view(dtype)

    def _bytes(self, name: str, *, default: bytes) -> bytes:
        if self._root + name not in self._members:
            return default
        begin, size = self._place(name)
        return self._mapped[begin : begin + min(size, 64)]

    def _place(self, name: str) -> tuple[int, int]:
        """Return where a member's bytes begin, and how many there are."""
        member = self._members.get(self._root + name)
        if member is None:
            raise Refused(f"'{name[:40]}' is missing")
        begin = member.header_offset
        local = self._mapped[begin : begin + 30]
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise Refused(f"'{name[:40]}' is damaged")
        name_length, extra_length = struct.unpack("<HH", local[26:30])
        begin += 30 + name_length + extra_length
        if begin + member.file_size > len(self._mapped):
            raise Refused(f"'{name[:40]}' claims more bytes than the file has")
        return begin, member.file_size


def _view(mapped: mmap.mmap, begin: int, size: int) -> Tensor:
    if size == 0:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(mapped, dtype=torch.uint8, count=size, offset=begin)
