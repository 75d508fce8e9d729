"""Folders of picture pairs: which file of A belongs to which of B, and which pairs are held out.

A pair is two files of the same stem, in A (source) and B (target). Known layouts, the first that fits counts:

    DATA/train/A DATA/train/B DATA/val/A DATA/val/B      split given
    DATA/trainA DATA/trainB DATA/valA DATA/valB          split given (pix2pix's names; test in place of val is fine)
    DATA/A DATA/B                                        a share is held out, chosen by the hash of the stem

Where there is nothing but targets, as for a prior, each picture is a pair without a source. They are the B of a folder
of pairs, or else DATA/train and DATA/val (or test), or all of DATA, sub-folders included.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import PICTURE_EXTENSIONS

_Folders = tuple[Path | None, Path]
"""Where sources and targets are."""


@dataclass(frozen=True)
class Pair:
    """Two files that show the same thing; `name` is their stem, with sub-folders, and tells pairs of one root apart.

    source: None where there are only targets.
    """

    name: str
    source: Path | None
    target: Path

    @property
    def folder(self) -> str:
        """The uppermost folder that it lies in, which names its class; "" for none."""
        return self.name.partition("/")[0] if "/" in self.name else ""


@dataclass(frozen=True)
class PairSplit:
    """The pairs of one or more roots. `unpaired` are files without a partner."""

    train: list[Pair]
    val: list[Pair]
    unpaired: list[Path]


def find_pairs(roots: Sequence[Path], *, val_share: float, targets_only: bool = False) -> PairSplit:
    """Collect the pairs of all roots, in an order that depends on names alone.

    Args:
        roots: folders in one of the layouts above.
        val_share: share of pairs to hold out, 0..1, where the layout does not say.
        targets_only: the roots may be plain folders of pictures, and of pairs only B is used.

    Raises:
        UsageError: a root is missing, has no known layout, or there are no pairs to train on.
    """
    found = PairSplit([], [], [])
    for root in roots:
        train, val = _target_layout(root) if targets_only else _layout(root)
        train_pairs, unpaired = _match(*train)
        found.unpaired.extend(unpaired)
        if val is not None:
            found.train.extend(train_pairs)
            val_pairs, unpaired = _match(*val)
            found.val.extend(val_pairs)
            found.unpaired.extend(unpaired)
        else:
            for pair in train_pairs:
                (found.val if _held_out(pair.name, val_share) else found.train).append(pair)
    if not found.train:
        raise UsageError(
            f"no {'pictures' if targets_only else 'pairs'} to train on in {', '.join(str(root) for root in roots)}",
            hint="name a folder of pictures"
            if targets_only
            else "a pair is two pictures of the same stem, one in A/ and one in B/",
        )
    return found


def _layout(root: Path) -> tuple[_Folders, _Folders | None]:
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder", hint="make pairs with: ddbm data edges PICTURES OUT")

    def both(first: str, second: str) -> _Folders | None:
        pair = (root / first, root / second)
        return pair if pair[0].is_dir() and pair[1].is_dir() else None

    for join in ("{}/", "{}"):
        train = both(join.format("train") + "A", join.format("train") + "B")
        if train:
            vals = (both(join.format(split) + "A", join.format(split) + "B") for split in ("val", "test"))
            return train, next(filter(None, vals), None)
    plain = both("A", "B")
    if plain:
        return plain, None
    raise UsageError(
        f"{root}: neither A/ and B/ nor train/A and train/B are in it",
        hint="put sources in A/ and targets in B/, pairs under the same file name",
    )


def _target_layout(root: Path) -> tuple[_Folders, _Folders | None]:
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder", hint="name a folder of pictures")
    with contextlib.suppress(UsageError):  # no folder of pairs
        (_, train), val = _layout(root)
        return (None, train), (None, val[1]) if val else None
    vals = [root / split for split in ("val", "test") if (root / split).is_dir()]
    if vals and (root / "train").is_dir():
        return (None, root / "train"), (None, vals[0])
    return (None, root), None


def _match(sources: Path | None, targets: Path) -> tuple[list[Pair], list[Path]]:
    if sources is None:
        return [Pair(name, None, path) for name, path in by_stem(pictures_below(targets)).items()], []
    first, second = by_stem(pictures_below(sources)), by_stem(pictures_below(targets))
    pairs = [Pair(name, first[name], second[name]) for name in sorted(first.keys() & second.keys())]
    alone = [(first.get(name) or second[name]) for name in sorted(first.keys() ^ second.keys())]
    return pairs, alone


def pictures_below(folder: Path) -> dict[Path, Path]:
    """Return the pictures of a folder and its sub-folders, by their path below it: those not hidden, sorted."""
    files = (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURE_EXTENSIONS and not path.name.startswith(".")
    )
    return {path.relative_to(folder): path for path in files}


def by_stem(files: Mapping[Path, Path]) -> dict[str, Path]:
    """Return files under their names without the extension; of several the last."""
    return {name.with_suffix("").as_posix(): path for name, path in files.items()}


def _held_out(name: str, share: float) -> bool:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
