"""What to pass instead of a folder whose layout is unknown, from what lies in it."""

from collections.abc import Callable, Sequence
from pathlib import Path

LAYOUTS = "A/ and B/, train/A and train/B, trainA and trainB, or A/train and B/train; source/target, input/output too"

NAMES = (
    "a pair is two images of the same file name, such as A/1.png and B/1.png; for other names, pass a list (csv); "
    "to train without pairs, add --task schrodinger"
)

LIST_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")

_NAMED = 2


def hint_for(
    root: Path,
    folders: Sequence[Path],
    *,
    images: int,
    is_side: bool,
    has_layout: Callable[[Path], bool],
    are_pairs: Callable[[Path, Path], bool],
) -> str:
    """Return the hint for a folder.

    Args:
        root: the folder.
        folders: its visible sub-folders.
        images: the number of images in it, without those of sub-folders.
        is_side: it is named like a folder of sources or of targets.
        has_layout: whether the layout of a folder is known.
        are_pairs: whether two folders hold images of the same names.
    """
    if is_side:
        return f"pass the folder above, or both folders: ddbm train SOURCES TARGETS; or use {LAYOUTS}"
    below = [folder for folder in folders if has_layout(folder)]
    if below:
        return f"pass {_listed(below)}: its layout is known"
    if len(folders) == 2 and not images and are_pairs(*folders):
        return f"pass both folders, the sources first: {folders[0]} {folders[1]}, or the other way round"
    lists = [file for file in _files(root) if file.suffix.lower() in LIST_EXTENSIONS]
    if lists:
        return f"pass {_listed(lists)}, if it is a list of pairs; or put pairs under the same file name into {LAYOUTS}"
    if images and not folders:
        return (
            f"put pairs under the same file name into {LAYOUTS}; images that show both sides are twice as wide as high"
        )
    return f"put pairs under the same file name into {LAYOUTS}"


def _listed(paths: Sequence[Path]) -> str:
    more = f" (or {len(paths) - _NAMED} more)" if len(paths) > _NAMED else ""
    return " or ".join(map(str, paths[:_NAMED])) + more


def _files(root: Path) -> list[Path]:
    try:
        return sorted(file for file in root.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError:
        return []
