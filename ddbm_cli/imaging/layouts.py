"""Layouts of training data: which folders hold sources and targets, and which hold what is held out.

The sides are A and B, source and target, input and output, or one of the other names in `SIDES`; splits are train,
val (valid, validation) and test. Names are compared without case. The first layout that fits counts:

    DATA/train/A DATA/train/B DATA/val/A DATA/val/B    a split in folders
    DATA/trainA DATA/trainB DATA/valA DATA/valB        the same, joined; train_A and train-A too
    DATA/A/train DATA/B/train DATA/A/val DATA/B/val    a split within the sides (pix2pix's folders)
    DATA/A DATA/B                                      no split
    DATA/train/*.jpg or DATA/*.jpg                     images twice as wide as high: source left, target right
    SOURCES TARGETS                                    two folders of images, passed as two paths

Nothing in a test folder is trained on. What is held out for validation is val, or where there is none, test.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.io import image_size
from ddbm_cli.imaging.layout_hints import NAMES, hint_for
from ddbm_cli.imaging.preprocess import Size
from ddbm_cli.imaging.walk import SYSTEM_FOLDERS, list_images

SIDES = (
    ("a", "b"),
    ("source", "target"),
    ("sources", "targets"),
    ("src", "tgt"),
    ("input", "output"),
    ("inputs", "outputs"),
    ("input", "target"),
    ("inputs", "targets"),
    ("input", "gt"),
    ("lq", "gt"),
    ("lr", "hr"),
    ("low", "high"),
    ("blur", "sharp"),
    ("noisy", "clean"),
)
"""Names of the folders of sources and of targets."""

TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")
"""Names of splits; of several that are there the first is used."""

PROBED = 32
"""Number of images whose size decides whether they are side-by-side pairs."""

LEAST_DOUBLE = 0.8
"""Part of the probed images that must show two squares next to each other, so that all count as pairs."""


@dataclass(frozen=True)
class Sides:
    """Where sources and targets are.

    source: None where there are only targets. exclude: sub-folders that are not part of it.
    side_by_side: each image of `target` shows the source in its left half and the target in its right half; the other
        way round where it is `mirrored`.
    """

    source: Path | None
    target: Path
    exclude: tuple[Path, ...] = ()
    side_by_side: bool = False
    mirrored: bool = False

    @property
    def words(self) -> str:
        """The folders, as one line."""
        if self.side_by_side:
            left, right = ("target", "source") if self.mirrored else ("source", "target")
            return f"{self.target} (side by side: {left} left, {right} right)"
        return f"{self.source} -> {self.target}" if self.source else str(self.target)

    def swapped(self) -> "Sides":
        """Return the sides with source and target exchanged."""
        if self.source is None:
            return replace(self, mirrored=self.side_by_side and not self.mirrored)
        return replace(self, source=self.target, target=self.source)


@dataclass(frozen=True)
class Layout:
    """The folders to train on, and those held out; None where the folders do not name a split."""

    train: Sides
    held_out: Sides | None = None

    def swapped(self) -> "Layout":
        """Return the layout with sources and targets exchanged."""
        return Layout(self.train.swapped(), self.held_out.swapped() if self.held_out else None)


def layouts_of(
    roots: Sequence[Path], *, targets_only: bool, exclude: Sequence[Path] = (), swap: bool = False
) -> list[Layout]:
    """Find the layout of each root, or of two roots that are sources and targets.

    Args:
        roots: folders.
        targets_only: only targets are used: the B of pairs, else all images of a root.
        exclude: folders that are not data, such as the run's.
        swap: exchange sources and targets.

    Raises:
        UsageError: a root is missing, or its layout is unknown.
    """
    found = _layouts(roots, targets_only=targets_only, exclude=exclude, swap=swap)
    return [layout.swapped() for layout in found] if swap and not targets_only else found


def _layouts(roots: Sequence[Path], *, targets_only: bool, exclude: Sequence[Path], swap: bool) -> list[Layout]:
    for root in roots:
        if not root.is_dir():
            what = "not a folder" if root.exists() else "no such folder"
            raise UsageError(f"{root}: {what}", hint="pass a folder, or a list of pairs (csv, tsv, jsonl, json)")
    found = [_pairs_of(root) for root in roots]
    if targets_only:
        return [
            _targets(layout.swapped() if layout and swap else layout, root)
            for layout, root in zip(found, roots, strict=True)
        ]
    if len(roots) == 2 and found == [None, None]:
        both = Sides(roots[0], roots[1])
        if _have_common_name(both, exclude):
            return [_split_within(both)]
        _check_names(both, exclude)
    return [layout or _side_by_side(root, exclude) for layout, root in zip(found, roots, strict=True)]


def _pairs_of(root: Path) -> Layout | None:
    """Return the layout of a folder with named sides, None for another."""
    folders = _folders(root)
    for names in SIDES:
        train = next(_splits(folders, TRAIN, names), None)
        if train:
            return Layout(train, next(_splits(folders, HELD_OUT, names), None))
        plain = _both(folders, *names)
        if plain:
            return _split_within(plain)
    return None


def _splits(folders: Mapping[str, Path], splits: Sequence[str], names: tuple[str, str]) -> Iterator[Sides]:
    for split in splits:
        inner = _both(_folders(folders[split]), *names) if split in folders else None
        joined = (_both(folders, *(f"{split}{sign}{name}" for name in names)) for sign in ("", "_", "-"))
        yield from filter(None, (inner, *joined))


def _both(folders: Mapping[str, Path], source: str, target: str) -> Sides | None:
    return Sides(folders[source], folders[target]) if source in folders and target in folders else None


def _split_within(sides: Sides) -> Layout:
    """Return the layout of two sides, or of one, that may have folders of splits within."""
    inner = [_folders(side) for side in (sides.source, sides.target) if side]
    shared = [name for name in (*TRAIN, *HELD_OUT) if all(name in folders for folders in inner)]
    train = [name for name in TRAIN if name in shared]
    held_out = [name for name in HELD_OUT if name in shared]
    # A folder "train" among others is a class.
    if train and not held_out and any(set(folders) - set(TRAIN) for folders in inner):
        return Layout(sides)

    def of(name: str) -> Sides:
        return Sides(inner[0][name] if sides.source else None, inner[-1][name], side_by_side=sides.side_by_side)

    if train:
        return Layout(of(train[0]), of(held_out[0]) if held_out else None)
    if held_out and any(len(folders) == len(held_out) for folders in inner):
        apart = tuple(folders[name] for folders in inner for name in held_out)
        rest = Sides(sides.source, sides.target, apart, sides.side_by_side)
        return Layout(rest, of(held_out[0]))
    return Layout(sides)


def _targets(layout: Layout | None, root: Path) -> Layout:
    if layout is None:
        return _split_within(Sides(None, root))
    train, held_out = layout.train, layout.held_out
    return Layout(
        Sides(None, train.target, train.exclude), Sides(None, held_out.target, held_out.exclude) if held_out else None
    )


def _side_by_side(root: Path, exclude: Sequence[Path]) -> Layout:
    """Return the layout of images that hold both sides.

    Raises:
        UsageError: they do not; it names what was found.
    """
    files = _images_of(root, exclude)
    if _are_double(files):
        return _split_within(Sides(None, root, side_by_side=True))
    folders = list(_folders(root).values())
    there = [f"{folder.name}/" for folder in folders]
    images = sum(file.parent == root for file in files)
    there = there[:8] + (["..."] if len(there) > 8 else []) + ([f"{images} images"] if images else [])
    hint = hint_for(
        root,
        folders,
        images=images,
        is_side=root.name.lower() in {name for names in SIDES for name in names},
        has_layout=lambda folder: _pairs_of(folder) is not None,
        are_pairs=lambda first, second: _have_common_name(Sides(first, second), exclude),
    )
    raise UsageError(f"{root}: unknown layout; it holds {', '.join(there) or 'no images'}", hint=hint)


def _images_of(root: Path, exclude: Sequence[Path]) -> list[Path]:
    return [root / name for name in list_images(root, exclude=exclude).names]


def _are_double(files: Sequence[Path]) -> bool:
    """Return whether images are pairs side by side. Damaged files do not decide for the others."""
    probed = []
    for file in files[:: max(1, -(-len(files) // PROBED))]:
        with suppress(ImageError):
            probed.append(is_double(image_size(file)))
    return bool(files) and sum(probed) >= LEAST_DOUBLE * len(probed)


def is_double(size: Size) -> bool:
    """Return whether an image of this size can be two squares next to each other, up to a pixel or 2 %."""
    width, height = size
    return abs(width - 2 * height) <= max(1, height // 50)


def _check_names(sides: Sides, exclude: Sequence[Path]) -> None:
    """Check that two folders of images, which have no name in common, are not meant as sources and targets.

    Raises:
        UsageError: they are.
    """
    assert sides.source
    files = [_images_of(root, exclude) for root in (sides.source, sides.target)]
    if all(files) and not any(map(_are_double, files)):
        first, second = (each[0] for each in files)
        raise UsageError(
            f"{sides.words}: no two images have the same name; {first.name} and {second.name} differ", hint=NAMES
        )


def _have_common_name(sides: Sides, exclude: Sequence[Path]) -> bool:
    assert sides.source
    first, second = (list_images(side, exclude=exclude).stems().keys() for side in (sides.source, sides.target))
    return not first.isdisjoint(second)


def _folders(root: Path) -> dict[str, Path]:
    """Return the visible sub-folders by name in lower case."""
    try:
        found = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise UsageError(f"{root}: cannot open this folder ({error.strerror})", hint="change its permissions") from None
    folders: dict[str, Path] = {}
    for path in found:
        if not path.name.startswith(".") and path.name not in SYSTEM_FOLDERS:
            folders.setdefault(path.name.lower(), path)
    return folders
