"""Data sets of Hugging Face on the disk: parquet files, and the arrow files that `save_to_disk` writes.

Columns are named as those of lists. An image is a column of bytes, or one with the fields bytes and path; a path is
used only inside the table's folder. Needs pyarrow (the extra "datasets"); nothing is downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.io import MOST_BYTES, read_file
from ddbm_cli.imaging.layouts import HELD_OUT, TRAIN
from ddbm_cli.imaging.lists import Row, columns_of, split_of
from ddbm_cli.imaging.shards import split_in_name
from ddbm_cli.imaging.stored import Stored
from ddbm_cli.imaging.walk import Problem

EXTENSIONS = (".parquet", ".arrow")

ARROW_FILE = b"ARROW1"
"""First bytes of an arrow file with a footer; those of `save_to_disk` are streams without."""

MOST_IN_MEMORY = 2**31
"""Bytes of a row group, at most: it is read as a whole."""

_FAULTS: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError)


@dataclass(frozen=True)
class Cell(Stored):
    """An image in a row of a table. group: the row group, row: the row in it."""

    column: str = ""
    group: int = 0
    row: int = 0

    ordered = True

    def read(self) -> bytes:
        try:
            value: Any = _column(self.file, self.group, self.column)[self.row].as_py()
        except _FAULTS as error:
            reason = " ".join(str(error).split())
            raise ImageError(f"{self}: cannot be read ({reason})", hint="download the file again") from None
        path = None
        if isinstance(value, dict):
            value, path = value.get("bytes"), value.get("path")
        if isinstance(value, bytes) and value:
            if len(value) > MOST_BYTES:
                raise ImageError(f"{self}: more than {MOST_BYTES // 2**20} MiB", hint="reduce the image first")
            return value
        if isinstance(path, str) and not PurePath(path).is_absolute() and ".." not in PurePath(path).parts:
            return read_file(self.file.parent / path)
        raise ImageError(f"{self}: no image in this row", hint="remove the row")


def is_table(file: Path) -> bool:
    """Return whether a path is named like a table."""
    return file.suffix.lower() in EXTENSIONS


def tables_of(root: Path) -> list[tuple[Path, str]]:
    """Return the tables of a path with their splits, "" where the name does not say; [] where there are none."""
    if root.is_file():
        return [(root, split_in_name(root, root))] if is_table(root) else []
    found = []
    for part in ("", "data", "default", *TRAIN, *HELD_OUT):
        folder = root / part
        try:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError:
            files = []
        found += [file for file in files if is_table(file) and file.is_file()]
    return [(file, split_in_name(file, root)) for file in found]


def rows_of_table(file: Path, *, targets_only: bool, split: str) -> tuple[list[Row], int, list[Problem]]:
    """Return the pairs of a table; as of `shards.rows_of_shard`. Rows without an image are found when they are read.

    Raises:
        UsageError: it cannot be read, has no columns of images, or pyarrow is missing.
    """
    try:
        schema, counts = _shape(file)
    except _FAULTS as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{file}: not readable ({reason})", hint="download the file again") from None
    columns = columns_of(schema.names, targets_only=targets_only, file=file)
    for name in filter(None, (columns.source, columns.target)):
        if not _holds_images(schema.field(name).type):
            raise UsageError(f"{file}: column '{name}' holds no images, but {schema.field(name).type}", hint=HINT)
    labels = _labels(schema)
    rows: list[Row] = []
    for group, count in enumerate(counts):
        texts = {meaning: _texts(file, group, name, labels) for meaning, name in columns.others.items()}
        for row in range(count):
            number = len(rows)
            name = f"{file.stem}-{number:08d}"

            def cell(column: str, group: int = group, row: int = row, number: int = number) -> Cell:
                return Cell(file, f"row {number}, {column}", 0, column, group, row)

            own = {meaning: values[row] for meaning, values in texts.items()}
            word = own.get("split", "") or split
            if word and split_of(word) is None:
                raise UsageError(f"{file}, row {number}: '{word}' is not a split", hint="write train, val or test")
            source = cell(columns.source) if columns.source and not targets_only else None
            rows.append(Row(name, source, cell(columns.target), own.get("class", ""), own.get("caption", ""), word))
    return rows, 0, []


HINT = "a column of images holds their bytes, or the fields bytes and path"


def _shape(file: Path) -> tuple[Any, list[int]]:
    """Return the schema of a table, and the number of rows in each of its groups."""
    if file.suffix.lower() == ".arrow":
        table = _arrow(file)
        return table.schema, [table.num_rows]
    facts = _parquet(file)
    groups = [facts.metadata.row_group(index) for index in range(facts.metadata.num_row_groups)]
    if any(group.total_byte_size > MOST_IN_MEMORY for group in groups):
        raise ValueError(f"a row group of more than {MOST_IN_MEMORY // 2**30} GiB")
    return facts.schema_arrow, [group.num_rows for group in groups]


def _parquet(file: Path) -> Any:
    return _library("pyarrow.parquet", file).ParquetFile(file)


def _arrow(file: Path) -> Any:
    pyarrow = _library("pyarrow", file)
    body = pyarrow.memory_map(str(file))
    is_stream = body.read(len(ARROW_FILE)) != ARROW_FILE
    body.seek(0)
    return (pyarrow.ipc.open_stream if is_stream else pyarrow.ipc.open_file)(body).read_all()


def _library(name: str, file: Path) -> Any:
    """Return a module of pyarrow.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(
            f"{file}: reading it needs pyarrow", hint="install it: pip install 'ddbm-cli[datasets]'"
        ) from None


@lru_cache(maxsize=4)
def _column(file: Path, group: int, column: str) -> Any:
    """Return a column of a row group; the last few are kept, since rows are read in order."""
    if file.suffix.lower() == ".arrow":
        return _arrow(file).column(column)
    return _parquet(file).read_row_group(group, columns=[column]).column(column)


def _texts(file: Path, group: int, column: str, labels: Mapping[str, list[str]]) -> list[str]:
    """Return a column of texts, or of classes by number, as texts."""
    names = labels.get(column, [])
    values = _column(file, group, column).to_pylist()

    def text(value: Any) -> str:
        if isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        return "" if value is None else str(value).strip()

    return [text(value) for value in values]


def _labels(schema: Any) -> dict[str, list[str]]:
    """Return the names of classes that the `datasets` library stored with a table, by column."""
    try:
        body = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = body["info"]["features"]
        return {name: list(map(str, each["names"])) for name, each in features.items() if "names" in each}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _holds_images(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return "bytes" in [kind.field(index).name for index in range(kind.num_fields)]
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
