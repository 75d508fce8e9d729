"""Text, TOML, JSON and CSV files that people and other programs wrote: read with limits, and errors in one line.

Editors and shells of Windows write UTF-8 with a byte order mark, or UTF-16; both are read. The encoding never depends
on the locale.
"""

import codecs
import io
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ddbm_cli.foundation.errors import DdbmError, UsageError

T = TypeVar("T")

LARGEST = 64 * 2**20
"""Bytes of a file that are read; longer files are refused."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(body: bytes) -> str:
    """Return the text of a file's bytes: UTF-8, or the encoding of its byte order mark.

    Raises:
        ValueError: the bytes are no text in that encoding.
    """
    encoding = next((name for mark, name in _MARKS if body.startswith(mark)), "utf-8")
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise ValueError(f"not {encoding.removesuffix('-sig').upper()} text, line {line}") from None


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, or is nested too deep.
    """
    try:
        return json.loads(decode(text) if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is no TOML, or is nested too deep.
    """
    try:
        return tomllib.loads(decode(text) if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def parse_table(text: str | bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV table with a header; columns are separated by commas, semicolons or tabs.

    Raises:
        ValueError: a field is longer than `csv` reads.
    """
    import csv

    table = decode(text) if isinstance(text, bytes) else text
    delimiter = max(",;\t", key=table.partition("\n")[0].count)
    try:
        rows = list(csv.DictReader(io.StringIO(table, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return [{str(key): value or "" for key, value in row.items() if isinstance(value, str | None)} for row in rows]


def read_text(path: Path, *, hint: str, error: type[DdbmError] = UsageError, limit: int = LARGEST) -> str:
    """Return a file's text.

    Args:
        path: the file.
        hint: the remedy, when it cannot be read.
        error: the class of the error to raise.
        limit: the most bytes that are read.

    Raises:
        DdbmError: the file is missing, not readable, too long, or no text; of the class `error`.
    """
    return _read(path, decode, hint=hint, error=error, limit=limit)


def read_json(path: Path, *, hint: str, error: type[DdbmError] = UsageError, limit: int = LARGEST) -> Any:
    """Return the value of a JSON file; arguments and errors as for `read_text`."""
    return _read(path, parse_json, hint=hint, error=error, limit=limit)


def read_toml(path: Path, *, hint: str, error: type[DdbmError] = UsageError, limit: int = LARGEST) -> dict[str, Any]:
    """Return the tables of a TOML file; arguments and errors as for `read_text`."""
    return _read(path, parse_toml, hint=hint, error=error, limit=limit)


def read_table(
    path: Path, *, hint: str, error: type[DdbmError] = UsageError, limit: int = LARGEST
) -> list[dict[str, str]]:
    """Return the rows of a CSV file; arguments and errors as for `read_text`."""
    return _read(path, parse_table, hint=hint, error=error, limit=limit)


def _read(path: Path, parse: Callable[[bytes], T], *, hint: str, error: type[DdbmError], limit: int) -> T:
    try:
        if not path.exists():
            raise ValueError("no such file")
        if not path.is_file():  # a pipe or a device could block, or never end
            raise ValueError("not a file")
        with path.open("rb") as file:
            body = file.read(limit + 1)
        if len(body) > limit:
            raise ValueError(f"longer than {limit // 2**20} MiB" if limit >= 2**20 else f"longer than {limit} bytes")
        return parse(body)
    except OSError as found:
        raise error(f"{path}: not readable ({found.strerror or found})", hint=hint) from None
    except ValueError as found:
        raise error(f"{path}: not readable ({' '.join(str(found).split())})", hint=hint) from None
