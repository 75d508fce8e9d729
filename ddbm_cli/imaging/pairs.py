"""Pairs of images for training: which source belongs to which target, and which pairs are held out.

A pair is two files of the same path below their folders, but for the extension; Unicode spellings of one name are
equal. Where there are only targets, as for a prior, each image is a pair without a source. `imaging.layouts` finds the
folders; `imaging.lists` reads lists of pairs, `imaging.shards` tar files, and `imaging.tables` parquet files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import number_of
from ddbm_cli.imaging.layout_hints import NAMES
from ddbm_cli.imaging.layouts import Sides, layouts_of
from ddbm_cli.imaging.lists import Row, held_out, is_list, metadata_of, read_rows, used
from ddbm_cli.imaging.shards import rows_of_shard, shards_of, split_in_name
from ddbm_cli.imaging.stored import ImageFile
from ddbm_cli.imaging.tables import is_table, rows_of_table, tables_of
from ddbm_cli.imaging.walk import Listing, Problem, Skipped, list_images

FEW = 4
"""From so many pairs on, at least one is held out."""


@dataclass(frozen=True)
class Pair:
    """A source and a target with the same name; `name` is their stem, with sub-folders, unique in a root.

    source: None where there are only targets. side_by_side: both are one file, the source its left half; its right
    half where it is `mirrored`. given_class, caption: its columns in a list.
    """

    name: str
    source: ImageFile | None
    target: ImageFile
    side_by_side: bool = False
    mirrored: bool = False
    given_class: str = ""
    caption: str = ""

    @property
    def class_name(self) -> str:
        """Its class: that of the list, or the uppermost folder that contains it; "" for none."""
        return self.given_class or (self.name.partition("/")[0] if "/" in self.name else "")


@dataclass(frozen=True)
class PairSplit:
    """The pairs of one or more roots.

    unpaired: files without a partner. skipped: what else was left out, by reason. broken: links to missing images.
    folders: where the pairs come from, one line per root. notes: facts about the split, for the header.
    """

    train: list[Pair] = field(default_factory=list)
    val: list[Pair] = field(default_factory=list)
    unpaired: list[Path] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    broken: list[Problem] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_pairs(
    roots: Sequence[Path],
    *,
    val_share: float,
    targets_only: bool = False,
    exclude: Sequence[Path] = (),
    swap: bool = False,
) -> PairSplit:
    """Collect the pairs of all roots, in an order that depends on names alone.

    Where the layout does not name a split, the hash of a pair's name decides whether it is held out; of four or more
    pairs at least one is held out, and at least one is not.

    Args:
        roots: folders in one of the layouts of `imaging.layouts`, and lists of pairs.
        val_share: fraction of the pairs to hold out, 0..1, where the layout does not name a split; 0 for none.
        targets_only: the roots may be plain folders of images, and of pairs only the targets are used.
        exclude: folders that are not data, such as the run's.
        swap: exchange sources and targets.

    Raises:
        UsageError: a root is missing, its layout is unknown, a sub-folder cannot be opened, or there are no pairs.
    """
    found = PairSplit()
    pairs: list[Pair] = []
    held: list[bool | None] = []  # None: the layout does not define it
    folders = []
    for root in roots:
        listed = _listed(root, found, targets_only=targets_only, swap=swap)
        if listed is None:
            folders.append(root)
            continue
        pairs += listed[0]
        held += listed[1]
    for layout in layouts_of(folders, targets_only=targets_only, exclude=exclude, swap=swap):
        found.folders.append(layout.train.words)
        train = _match(layout.train, exclude, found)
        val = _match(layout.held_out, exclude, found) if layout.held_out else []
        if layout.held_out:
            found.folders[-1] += f"; held out: {layout.held_out.words}"
        pairs += train + val
        held += [False if layout.held_out else None] * len(train) + [True] * len(val)
    if True not in held:  # a list that names training pairs only says nothing of what is held out
        held = [None] * len(held)
    for pair, is_out in zip(pairs, _hold_out(pairs, held, val_share), strict=True):
        (found.val if is_out else found.train).append(pair)
    if found.train and not found.val:
        why = "--val-share is 0" if val_share == 0 else f"fewer than {FEW} pairs"
        found.notes.append(f"nothing is held out ({why}): there is no validation")
    if not found.train:
        what = "images" if targets_only else "pairs"
        counts = f"; {len(found.unpaired)} images have no partner of the same name" if found.unpaired else ""
        counts += f" ({', '.join(_examples(found.unpaired))})" if found.unpaired else ""
        counts += f"; {len(found.val)} are of a split that is held out" if found.val else ""
        counts += f"; left out: {found.skipped}" if found.skipped else ""
        raise UsageError(
            f"no {what} to train on in {', '.join(found.folders)}{counts}",
            hint="pass a folder of images" if targets_only else NAMES,
        )
    return found


def _listed(
    root: Path, found: PairSplit, *, targets_only: bool, swap: bool
) -> tuple[list[Pair], list[bool | None]] | None:
    """Return the pairs of a list, of shards or tables, and which are held out; None for other folders."""
    rows: list[Row] = []
    files = [*tables_of(root), *shards_of(root)]
    for file, split in files:
        read = rows_of_table if is_table(file) else rows_of_shard
        these, others, problems = read(file, targets_only=targets_only, split=split)
        rows += these
        found.broken.extend(problems)
        found.unpaired.extend([file] * others)
    if not files:
        is_folder = root.is_dir()
        single = [(root, split_in_name(root, root))] if is_list(root) and root.exists() else []
        files = metadata_of(root) if is_folder else single
        for file, split in files:
            try:
                these, problems = read_rows(file, targets_only=targets_only, inside=is_folder, split=split)
            except UsageError:
                if not is_folder:
                    raise
                return None  # metadata of something else
            rows += these
            found.broken.extend(problems)
    if not files:
        return None
    more = f" and {len(files) - 2} more" if len(files) > 3 else ""
    names = ", ".join(str(file) for file, _ in (files[:2] if more else files))
    found.folders.append(f"{names}{more}{' (target -> source)' if swap and not targets_only else ''}")
    pairs, splits = [], []
    for row, is_used in zip(rows, used([row.split for row in rows]), strict=True):
        double = row.side_by_side
        source, target = (row.target, row.source) if swap and row.source and not double else (row.source, row.target)
        if target is None or (source is None and not targets_only):
            found.unpaired.extend(path for path in (source, target) if isinstance(path, Path))
        elif is_used:
            source = None if targets_only else source
            pairs.append(Pair(row.name, source, target, double, double and swap, row.class_name, row.caption))
            splits.append(row.split)
    return pairs, held_out(splits)


def _hold_out(pairs: Sequence[Pair], held: Sequence[bool | None], share: float) -> list[bool]:
    """Decide what the layout does not: whether each pair is held out."""
    ranks = [_rank(pair.name) for pair in pairs]
    loose = [index for index, each in enumerate(held) if each is None]
    out = {index for index in loose if ranks[index] < share and len(loose) >= FEW}
    if len(loose) >= FEW and share > 0:
        lowest, highest = (limit(ranks[index] for index in loose) for limit in (min, max))
        if not out and True not in held:  # pairs of one name stay together
            out = {index for index in loose if ranks[index] == lowest}
        if len(out) == len(loose) and False not in held:
            out = {index for index in out if ranks[index] != highest}
    return [index in out if each is None else each for index, each in enumerate(held)]


def _match(sides: Sides, exclude: Sequence[Path], found: PairSplit) -> list[Pair]:
    """Return the pairs of two folders; add what was left out to `found`."""

    def files_of(folder: Path) -> dict[str, Path]:
        listing = list_images(folder, exclude=(*exclude, *sides.exclude))
        files = listing.stems()
        _check(listing)
        found.skipped.update(listing.skipped)
        found.broken.extend(listing.broken)
        return files

    targets = files_of(sides.target)
    if sides.source is None:
        source = dict(targets) if sides.side_by_side else {}
        return [
            Pair(name, source.get(name), path, sides.side_by_side, sides.mirrored) for name, path in targets.items()
        ]
    sources = files_of(sides.source)
    found.unpaired.extend(sources.get(name) or targets[name] for name in sorted(sources.keys() ^ targets.keys()))
    return [Pair(name, sources[name], targets[name]) for name in sorted(sources.keys() & targets.keys())]


def _examples(unpaired: Sequence[Path]) -> list[str]:
    """Return the first name, and the first of another folder."""
    other = next((path for path in unpaired if path.parent != unpaired[0].parent), None)
    return [f"{path.parent.name}/{path.name}" for path in (unpaired[0], other) if path]


def _check(listing: Listing) -> None:
    if listing.closed:
        raise UsageError(listing.closed[0].message, hint=listing.closed[0].hint)


def _rank(name: str) -> float:
    """Return a pseudo-random number in 0..1 that follows from a name."""
    return number_of(name, errors="surrogateescape") / 2**64
