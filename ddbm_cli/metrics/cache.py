"""Features of pictures that were looked at before, by the pictures' content: a set of targets is measured once.

A row for each picture: the digest of its pixels, and its features as the network gave them, to the last bit. Neither
names nor folders matter, so any part of a set is found again. What cannot be read or written is computed.
"""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MANY = 500
"""Digests in one question, well below what SQLite allows."""


class FeatureCache:
    """Asks a network only for what is not in the file.

    Args:
        compute: uint8 (N, 3, H, W) -> features (N, F), float32.
        file: a database, made at need; one for each network and way of resizing.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], file: Path) -> None:
        self._compute = compute
        self._file = file

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the features (N, F) on the CPU."""
        digests = [_digest(picture) for picture in pictures]
        known = self._read(digests)
        fresh = [place for place, digest in enumerate(digests) if digest not in known]
        if fresh:
            computed = self._compute(pictures[fresh]).cpu()
            found = {digests[place]: features for place, features in zip(fresh, computed, strict=True)}
            self._write(found)
            known |= found
        return torch.stack([known[digest] for digest in digests])

    def _read(self, digests: list[bytes]) -> dict[bytes, Tensor]:
        if not self._file.exists():
            return {}
        known: dict[bytes, Tensor] = {}
        try:
            with closing(sqlite3.connect(self._file)) as database:
                for first in range(0, len(digests), MANY):
                    asked = digests[first : first + MANY]
                    marks = ",".join("?" * len(asked))
                    rows = database.execute(f"SELECT digest, features FROM seen WHERE digest IN ({marks})", asked)
                    known |= {digest: torch.from_numpy(np.frombuffer(body, np.float32).copy()) for digest, body in rows}
        except (sqlite3.Error, ValueError):
            return {}
        return known

    def _write(self, found: dict[bytes, Tensor]) -> None:
        rows = [(digest, features.numpy().astype(np.float32).tobytes()) for digest, features in found.items()]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file)) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, features BLOB NOT NULL)")
                database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return


def _digest(picture: Tensor) -> bytes:
    """Return the digest of a picture's pixels (3, H, W) and size."""
    pixels = picture.cpu().contiguous().numpy()
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
