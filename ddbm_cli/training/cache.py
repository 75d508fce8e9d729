"""Decoded pairs at the model's size, kept for the next epochs: in memory, then in a temporary file, within limits.

What is kept in memory lies in one block, which is reserved once: single tensors of this size, among those that a batch
needs for a moment, would take more than twice their own bytes. The file has no name where the system allows that, so
that it disappears with the process, however that ends. It is read by place, not mapped, so that its pages do not count
as memory of the process. Pairs beyond both limits, and all that a full disk does not take, are decoded again in every
epoch: nothing depends on the cache but the speed.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

LEFT_FREE = 2**30
"""Bytes of the disk that the file leaves free, at least."""

GIB = 2**30


class DecodedCache:
    """Pairs by index.

    Args:
        shapes: of each pair, uint8 (sides, 3, H, W).
        memory: bytes to keep in memory, at most.
        disk: bytes to keep in a file, at most.
        folder: of the file; it is created when needed.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], *, memory: int = 0, disk: int = 0, folder: Path) -> None:
        self._shapes = shapes
        self._slot = max((int(np.prod(shape)) for shape in shapes), default=1)
        self._in_memory = min(len(shapes), memory // self._slot)
        self._folder = folder
        beyond = len(shapes) - self._in_memory
        self._on_disk = min(beyond, min(disk, self._free() if beyond and disk else 0) // self._slot)
        self._block: np.ndarray[Any, np.dtype[np.uint8]] | None = None
        self._kept: dict[int, int] = {}
        self._places: dict[int, int] = {}
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def is_whole(self) -> bool:
        """Whether all pairs fit into memory."""
        return self._in_memory >= len(self._shapes)

    @property
    def words(self) -> str:
        """Where decoded pairs are kept."""
        parts = [
            f"{count * self._slot / GIB:.2g} GiB {where}"
            for count, where in ((self._in_memory, "in memory"), (self._on_disk, f"in a file in {self._folder}"))
            if count
        ]
        rest = len(self._shapes) - self._in_memory - self._on_disk
        if rest:
            parts.append(f"{rest} pairs are decoded in every epoch")
        return ", ".join(parts)

    @property
    def bytes_to_come(self) -> int:
        """Bytes of memory that pairs will take which are not kept yet."""
        return (self._in_memory - len(self._kept)) * self._slot

    def get(self, index: int, decode: Callable[[int], Tensor]) -> Tensor:
        """Return a pair; decode it where it is not kept yet.

        Raises:
            ImageError: as `decode`.
        """
        if index in self._kept:
            return self._in_block(index, self._kept[index])
        place = self._places.get(index)
        found = None if place is None else self._read(index, place)
        if found is None:
            found = decode(index)
            self._keep(index, found)
        return found

    def kept(self, index: int) -> Tensor | None:
        """Return a pair, None where it is not in memory."""
        return self._in_block(index, self._kept[index]) if index in self._kept else None

    def _keep(self, index: int, pixels: Tensor) -> None:
        with self._lock:
            if index in self._kept or index in self._places:
                return
            if len(self._kept) < self._in_memory:
                if self._block is None:  # its pages are used when they are written
                    self._block = np.empty((self._in_memory, self._slot), dtype=np.uint8)
                place = len(self._kept)
                self._in_block(index, place).copy_(pixels)
                self._kept[index] = place
                return
            place = len(self._places)
            if place >= self._on_disk:
                return
            try:
                self._write(place * self._slot, pixels)
            except OSError:
                self._on_disk = place  # the disk is full
                return
            self._places[index] = place

    def _in_block(self, index: int, place: int) -> Tensor:
        """Return the part of the block for a pair, which shares its memory."""
        assert self._block is not None
        shape = self._shapes[index]
        return torch.from_numpy(self._block[place, : int(np.prod(shape))].reshape(shape))

    def _write(self, offset: int, pixels: Tensor) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(  # noqa: SIM115, it lives as long as the cache
                dir=self._folder, prefix=".ddbm-", suffix=".tmp", buffering=0
            )
        body = memoryview(pixels.numpy().tobytes())
        self._file.seek(offset)
        while body:
            body = body[self._file.write(body) :]

    def _read(self, index: int, place: int) -> Tensor | None:
        """Return a pair of the file, None where it cannot be read."""
        assert self._file
        shape = self._shapes[index]
        length = int(np.prod(shape))
        with suppress(OSError):
            if hasattr(os, "pread"):
                body = os.pread(self._file.fileno(), length, place * self._slot)
            else:
                with self._lock:
                    self._file.seek(place * self._slot)
                    body = self._file.read(length)
            if len(body) == length:
                return torch.from_numpy(np.frombuffer(bytearray(body), dtype=np.uint8).reshape(shape))
        return None

    def _free(self) -> int:
        """Return how many bytes of the disk may be used."""
        there = next((folder for folder in (self._folder, *self._folder.absolute().parents) if folder.is_dir()), None)
        try:
            return max(0, shutil.disk_usage(there).free - LEFT_FREE) if there else 0
        except OSError:
            return 0
