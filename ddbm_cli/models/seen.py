"""Which images a model was trained on, and which were held out: two Bloom filters, small enough for a card.

A filter is computed from the sha256 of the files. It contains each of them, and one in 4,096 others by chance.
"""

import base64
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.stored import ImageFile, digest_of

BITS = 18
"""Bits of a filter per image."""

HASHES = 12
"""Bits that each image sets; the rate of false positives is 2^-12."""

MOST = 200_000
"""Largest number of images; the filters of more would take a megabyte in the card, and are left out."""

TRAINING, HELD_OUT, UNKNOWN = "training", "held out", "unknown"


def remember(training: Iterable[ImageFile], held_out: Iterable[ImageFile]) -> dict[str, str]:
    """Return the filters of two sets of files, in base64; empty if there are too many."""
    sets = {TRAINING: set(training), HELD_OUT: set(held_out)}
    if sum(map(len, sets.values())) > MOST:
        return {}
    with ThreadPoolExecutor() as readers:
        return {
            name: _filter([each for each in readers.map(_digest_if_readable, sorted(files, key=str)) if each])
            for name, files in sets.items()
            if files
        }


def joined(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return filters of the images of both, for a run that is resumed with other images."""
    parts = {name: [*before.get(name, "").split(","), *now.get(name, "").split(",")] for name in (TRAINING, HELD_OUT)}
    return {name: ",".join(dict.fromkeys(filter(None, each))) for name, each in parts.items() if any(each)}


def split_of(splits: Mapping[str, str], file: Path) -> str:
    """Return which set a file is in: "training", "held out", or "unknown"."""
    return split_of_digest(splits, _digest(file))


def split_of_digest(splits: Mapping[str, str], digest: bytes) -> str:
    """Return which set a file with a SHA-256 is in: "training", "held out", or "unknown"."""
    return next((name for name in (TRAINING, HELD_OUT) if name in splits and _contains(splits[name], digest)), UNKNOWN)


def _digest_if_readable(file: ImageFile) -> bytes:
    """Return a digest, b"" for a file that cannot be read: the training reports it."""
    try:
        return _digest(file)
    except (OSError, ImageError):
        return b""


def _digest(file: ImageFile) -> bytes:
    return bytes.fromhex(digest_of(file))


def _filter(digests: list[bytes]) -> str:
    bits = np.zeros(-(-len(digests) * BITS // 8) * 8, dtype=bool)
    for digest in digests:
        bits[_places(digest, len(bits))] = True
    return base64.b64encode(np.packbits(bits).tobytes()).decode()


def _contains(text: str, digest: bytes) -> bool:
    """Return whether one of the filters, separated by commas, contains a digest."""
    return any(_is_in(part, digest) for part in text.split(","))


def _is_in(text: str, digest: bytes) -> bool:
    try:
        bits = np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8))
    except ValueError:  # a damaged filter contains nothing
        return False
    return len(bits) > 0 and bool(bits[_places(digest, len(bits))].all())


def _places(digest: bytes, length: int) -> list[int]:
    start, stride = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8))
    return [(start + index * (stride | 1)) % length for index in range(HASHES)]
