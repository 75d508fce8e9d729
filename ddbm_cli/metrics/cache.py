"""Features of images that were measured before, found by the images' content: a set of targets is computed once.

A row per image: the digest of its pixels, and its features exactly as the network gave them. Names and folders do not
matter, so any part of a set is found again. Rows that cannot be read, or hold something else, are computed again.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ddbm_cli.foundation.hashing import sha256_of_parts

LONGEST = 2**16
"""Bytes of a row's features, at most."""

MANY = 500
"""Digests per query, far below the limit of SQLite."""


class FeatureCache:
    """Computes only the features that are not in the file.

    Args:
        compute: uint8 (N, 3, H, W) -> features (N, F), float32.
        file: a database, created when needed; one per network and kind of resizing.
        width: F; rows of another width are ignored. By default the first rows decide.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], file: Path, *, width: int | None = None) -> None:
        self._compute = compute
        self._width = width
        self._file = file

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features (N, F) on the CPU."""
        digests = [_digest(image) for image in images]
        known = self._read(digests)
        fresh = [place for place, digest in enumerate(digests) if digest not in known]
        if fresh:
            computed = self._compute(images[fresh]).cpu()
            if any(len(features) != computed.shape[1] for features in known.values()):  # of another network
                return self._compute(images).cpu()
            found = {digests[place]: features for place, features in zip(fresh, computed, strict=True)}
            self._write(found)
            known |= found
        if len({len(features) for features in known.values()}) > 1:
            return self._compute(images).cpu()
        return torch.stack([known[digest] for digest in digests])

    def _fits(self, features: Tensor) -> bool:
        return self._width in (None, len(features))

    def _read(self, digests: list[bytes]) -> dict[bytes, Tensor]:
        if not self._file.exists():
            return {}
        known: dict[bytes, Tensor] = {}
        try:
            with closing(sqlite3.connect(self._file)) as database:
                for first in range(0, len(digests), MANY):
                    asked = digests[first : first + MANY]
                    marks = ",".join("?" * len(asked))
                    rows = database.execute(
                        f"SELECT digest, features FROM seen WHERE digest IN ({marks}) AND length(features) <= ?",
                        [*asked, LONGEST],
                    )
                    found = {digest: _features(body) for digest, body in rows}
                    known |= {digest: each for digest, each in found.items() if each is not None and self._fits(each)}
        except (sqlite3.Error, ValueError, TypeError):
            return {}
        return known

    def _write(self, found: dict[bytes, Tensor]) -> None:
        rows = [(digest, features.numpy().astype(np.float32).tobytes()) for digest, features in found.items()]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file)) as database, database:
                database.execute("CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, features BLOB NOT NULL)")
                database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return


def _features(body: object) -> Tensor | None:
    """Return the features of a row, None for one that holds something else."""
    if not isinstance(body, bytes) or not body or len(body) % 4:
        return None
    values = np.frombuffer(body, np.float32)
    return torch.from_numpy(values.copy()) if np.isfinite(values).all() else None


def _digest(image: Tensor) -> bytes:
    """Return the digest of an image's pixels (3, H, W) and size."""
    pixels = image.cpu().contiguous().numpy()
    return bytes.fromhex(sha256_of_parts([repr(pixels.shape).encode(), pixels.tobytes()]))
