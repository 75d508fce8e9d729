"""Latents of a run in a file, so that images are not coded again beyond the memory, or after a run is resumed.

The file begins with the digest of what latents depend on. Records of one length follow: the SHA-256 of an image, its
latents, and their CRC-32. A file with another digest is begun anew. A record that was cut short or is damaged is as
good as none, and where the disk takes no more, nothing is kept: nothing depends on the file but the speed.
"""

import os
import shutil
import stat
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ddbm_cli.foundation.devices import is_finite
from ddbm_cli.training.cache import LEFT_FREE

KEY, CHECK = 32, 4
"""Bytes of a digest, and of a checksum."""


class LatentFile:
    """Latents by the digests of their images, usable by several threads of one process.

    Args:
        path: of the file, which is created where it is missing.
        digest: of what the latents depend on, 32 bytes.
        count: of float32 values in the latents of an image.
        most: bytes of the file, at most; None to read only, because the folder may be another's.

    Raises:
        OSError: there is no such folder, or something else is in the place of the file.
    """

    def __init__(self, path: Path, digest: bytes, count: int, *, most: int | None) -> None:
        self._path, self._length, self._most = path, 4 * count, most or 0
        self._record = KEY + self._length + CHECK
        self._lock = threading.Lock()
        mode, opener = ("rb", _opened) if most is None else ("r+b", _created)
        self._file: IO[bytes] = open(path, mode, buffering=0, opener=opener)  # noqa: SIM115, it lives as long as self
        if self._file.read(KEY) != digest:
            if most is None:
                raise OSError(f"{path}: latents of another codec")
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(digest)
        kept = (os.fstat(self._file.fileno()).st_size - KEY) // self._record
        self._places = {self._read(place, KEY): place for place in range(kept)}
        self._end = kept

    def get(self, key: bytes) -> Tensor | None:
        """Return the latents of an image, (count,) float32; None if they are not kept."""
        place = self._places.get(key)
        if place is None:
            return None
        with suppress(OSError):
            record = self._read(place, self._record)
            body, check = record[KEY:-CHECK], record[-CHECK:]
            if record[:KEY] == key and len(body) == self._length and check == _checksum(body):
                latents = torch.frombuffer(bytearray(body), dtype=torch.float32)
                if is_finite(latents):
                    return latents
        return None

    def put(self, key: bytes, latents: Tensor) -> None:
        """Keep the latents of an image."""
        body = latents.contiguous().numpy().tobytes()
        with self._lock:
            if key in self._places:
                return
            offset = KEY + self._end * self._record
            if offset + self._record > self._most:
                return
            try:
                if shutil.disk_usage(self._path.parent).free < LEFT_FREE + self._record:
                    return
                self._file.seek(offset)
                record = memoryview(key + body + _checksum(body))
                while record:
                    record = record[self._file.write(record) :]
            except OSError:
                self._most = 0
                return
            self._places[key] = self._end
            self._end += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Close the file and delete it, and its folder if nothing else is there."""
        self.close()
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._path.parent.rmdir()

    def _read(self, place: int, length: int) -> bytes:
        with self._lock:
            self._file.seek(KEY + place * self._record)
            return self._file.read(length)


def _checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(CHECK, "little")


def _created(path: str, flags: int) -> int:
    return _opened(path, flags | os.O_CREAT)


def _opened(path: str, flags: int) -> int:
    """Open a file of our own: not a link, and not a device or a pipe, which could block."""
    more = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | more, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: not a regular file")
    return descriptor
