"""Lists of pairs: a CSV, TSV, JSON Lines or JSON file that names the source and the target of each pair.

Columns are source and target, or other names of the sides in `SIDES`, with endings such as _file_name or _image; and
optionally class, caption and split. Paths are relative to the list. A list of targets alone has one column of images.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from ddbm_cli.foundation.documents import parse_json, read_json, read_table, read_text
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.layout_hints import LIST_EXTENSIONS
from ddbm_cli.imaging.layouts import HELD_OUT, SIDES, TRAIN
from ddbm_cli.imaging.stored import ImageFile
from ddbm_cli.imaging.walk import Problem, stem_key

LARGEST_LIST = 2**29
"""Bytes of a list, at most."""

LIST_SIDES = (
    *SIDES,
    ("original", "edited"),
    ("input", "edited"),
    ("conditioning", "image"),
    ("conditioning", ""),
    ("source", ""),
    ("", "target"),
    ("", "edited"),
)
"""Names of the columns of sources and targets; "" is file_name."""

TARGETS = ("target", "b", "image", "output", "file", "path", "")
"""Names of the column of a list of images alone; "" is file_name."""

_ENDINGS = re.compile(r"(_?(file_name|filename|file|path|image|img))+$")
_HINT = "its first line must contain the column names source and target, and optionally class, caption and split"
CAPTIONS = ("caption", "text", "prompt", "edit_prompt")
"""Names of the column of captions."""

_COLUMNS = {
    "class": ("class", "label", "class_name"),
    "caption": CAPTIONS,
    "split": ("split", "subset"),
}


@dataclass(frozen=True)
class Row:
    """One line of a list, or one sample: two images, None where it has none, and what else is known."""

    name: str
    source: ImageFile | None
    target: ImageFile | None
    class_name: str = ""
    caption: str = ""
    split: str = ""
    side_by_side: bool = False


@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what; `source` is "" where there are only targets, the others where they are not
    there."""

    source: str
    target: str
    others: Mapping[str, str] = field(default_factory=dict)


def is_list(path: Path) -> bool:
    """Return whether a path is named like a list of pairs."""
    return path.suffix.lower() in LIST_EXTENSIONS


def metadata_of(root: Path) -> list[tuple[Path, str]]:
    """Return the lists of a Hugging Face image folder with their splits: metadata.csv or .jsonl, also in train/ ..."""
    found = []
    for split in ("", "train", *HELD_OUT):
        files = [root / split / f"metadata{suffix}" for suffix in (".csv", ".jsonl")]
        found += [(file, split) for file in files if file.is_file()][:1]
    return found


def columns_of(names: Sequence[str], *, targets_only: bool, file: Path) -> Columns:
    """Return what the columns of a table mean, by their names.

    Args:
        names: the names of all columns.
        targets_only: only images are needed, and no sources.
        file: what errors call the table.

    Raises:
        UsageError: there is no such column.
    """
    plain = {_plain(name): name for name in reversed(names)}
    others = {
        meaning: next(name for name in names if name.lower() in known)
        for meaning, known in _COLUMNS.items()
        if any(name.lower() in known for name in names)
    }
    for source, target in LIST_SIDES:
        if source in plain and target in plain:
            return Columns(plain[source], plain[target], others)
    alone = next((plain[name] for name in TARGETS if name in plain), None)
    if targets_only and alone is not None:
        return Columns("", alone, others)
    found = ", ".join(names[:8]) or "none"
    raise UsageError(f"{file}: no columns of sources and targets; its columns: {found}", hint=_HINT)


def read_rows(
    file: Path, *, targets_only: bool, inside: bool = False, split: str = ""
) -> tuple[list[Row], list[Problem]]:
    """Return the rows of a list, and those whose files are missing.

    Args:
        file: the list.
        targets_only: only images are needed, and no sources.
        inside: refuse files outside the list's folder, as for a data set that others made.
        split: of rows without one.

    Raises:
        UsageError: it cannot be read, lacks a column, or has a wrong value; the line is named.
    """
    table = list(lines_of(file))
    names = list(dict.fromkeys(name for _, row in table for name in row))
    if not table:
        raise UsageError(f"{file}: no pairs in this list", hint=_HINT)
    columns = columns_of(names, targets_only=targets_only, file=file)
    rows, problems = [], []
    for number, body in table:
        where = f"{file}, line {number}"
        source, target = (
            _path(body.get(name), file.parent, where, inside=inside) for name in (columns.source, columns.target)
        )
        other = {key: _text(body.get(name)) for key, name in columns.others.items()}
        if other.get("split") and split_of(other["split"]) is None:
            hint = f"write one of: {', '.join((*TRAIN, *HELD_OUT))}; or nothing"
            raise UsageError(f"{where}: '{other['split']}' is not a split", hint=hint)
        missing = [path for path in (source, target) if path and not path.is_file()]
        for path in missing:
            problems.append(Problem(path, f"{path}: no such file ({where})", "correct the list, or add the file"))
        named = target or source
        if named and not missing:
            name = stem_key(_below(named, file.parent))
            rows.append(
                Row(name, source, target, other.get("class", ""), other.get("caption", ""), other.get("split") or split)
            )
    return rows, problems


def split_of(text: str) -> str | None:
    """Return "train", or one of `HELD_OUT`, for a value of the column split; None for another word."""
    word = text.strip().lower()
    return "train" if word in TRAIN else word if word in HELD_OUT else None


def held_out(splits: Iterable[str]) -> list[bool | None]:
    """Return which rows are held out; None for those without a split."""
    return [None if not text else split_of(text) != "train" for text in splits]


def used(splits: Sequence[str]) -> list[bool]:
    """Return which rows are used: of several held-out splits only the first of `HELD_OUT`."""
    found = {split_of(text) for text in splits}
    first = next((name for name in HELD_OUT if name in found), None)
    return [split_of(text) in (None, "train", first) for text in splits]


def lines_of(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a list with their line numbers.

    Raises:
        UsageError: it cannot be read; the line is named.
    """
    suffix = file.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from enumerate(read_table(file, hint=_HINT, limit=LARGEST_LIST), start=2)
        return
    hint = 'write one object per line, such as {"source": "a.png", "target": "b.png"}'
    text = read_text(file, hint=hint, limit=LARGEST_LIST)
    lines = text.splitlines()
    body: Any = enumerate(lines, start=1)
    if suffix == ".json" and not _is_object(lines):  # some are JSON Lines by another name
        body = enumerate(_as_list(read_json(file, hint=hint, limit=LARGEST_LIST)), start=1)
    for number, row in body:
        if isinstance(row, str):
            if not row.strip():
                continue
            try:
                row = parse_json(row)
            except ValueError as error:
                reason = " ".join(str(error).split())
                raise UsageError(f"{file}, line {number}: not readable ({reason})", hint=hint) from None
        if not isinstance(row, dict):
            raise UsageError(f"{file}, line {number}: not an object", hint=hint)
        yield number, row


def _is_object(lines: Sequence[str]) -> bool:
    """Return whether the first of several lines is an object of its own, as in JSON Lines."""
    with suppress(ValueError):
        return len(lines) > 1 and isinstance(parse_json(lines[0]), dict)
    return False


def _as_list(body: Any) -> list[Any]:
    return body if isinstance(body, list) else [body]


def _plain(name: str) -> str:
    """Return a column's name without endings such as _file_name; "image" itself stays."""
    lower = name.strip().lower().replace("-", "_").replace(" ", "_")
    return lower if lower == "image" else _ENDINGS.sub("", lower)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _path(value: Any, folder: Path, where: str, *, inside: bool) -> Path | None:
    text = value.strip() if isinstance(value, str) else value
    if text in (None, ""):
        return None
    if not isinstance(text, str) or "\0" in text or re.match(r"[a-z][a-z0-9+.-]+://", text):
        raise UsageError(f"{where}: {str(text)[:80]!r} is not a file", hint="write a path, relative to the list")
    path = folder / text.replace("\\", "/") if "\\" in text and not (folder / text).exists() else folder / text
    if inside and (PurePath(text).is_absolute() or ".." in path.relative_to(folder).parts):
        raise UsageError(f"{where}: {text[:80]!r} is outside the folder", hint="move the files into the folder")
    return path


def _below(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path
