"""Tables for people: aligned columns, as wide as the terminal; one column wraps, and no text is cut."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from ddbm_cli.cli import terminal
from ddbm_cli.foundation.text import printable

GAP = 2
NARROWEST = 16
"""Columns that the wrapped text keeps, however narrow the terminal is."""


def width_of(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def terminal_width(stream: Any = None) -> int | None:
    """Return the columns of standard output, None where it is no terminal and lines may be of any length."""
    if not terminal.is_terminal(sys.stdout if stream is None else stream):
        return None
    return max(20, shutil.get_terminal_size().columns)


def show(
    rows: Sequence[Sequence[object]], *, wrapped: int, right: Sequence[int] = (), optional: Sequence[int] = ()
) -> None:
    """Write a table to standard output; the first row is its header.

    Args:
        rows: the cells.
        wrapped: the column whose text is wrapped where the terminal is too narrow.
        right: columns that are aligned to the right.
        optional: columns that are left out where the terminal is too narrow, the last ones first.
    """
    for number, line in enumerate(lines(rows, terminal_width(), wrapped=wrapped, right=right, optional=optional)):
        terminal.out(line, is_heading=number == 0)


def lines(
    rows: Sequence[Sequence[object]],
    width: int | None,
    *,
    wrapped: int,
    right: Sequence[int] = (),
    optional: Sequence[int] = (),
) -> list[str]:
    """Return the lines of a table of at most `width` columns, None for no limit; arguments as for `show`."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
    kept = list(range(len(widths)))
    if width is not None:
        for column in reversed(optional):
            if _total(widths, kept) <= width:
                break
            kept.remove(column)
        spare = width - (_total(widths, kept) - widths[wrapped])
        widths[wrapped] = min(widths[wrapped], max(spare, NARROWEST))
    return [line for row in cells for line in _lines(row, widths, kept, wrapped, right)]


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[column] for column in kept) + GAP * (len(kept) - 1)


def _lines(
    row: Sequence[str], widths: Sequence[int], kept: Sequence[int], wrapped: int, right: Sequence[int]
) -> list[str]:
    parts = textwrap.wrap(row[wrapped], widths[wrapped]) or [""]
    found = []
    for number, part in enumerate(parts):
        texts = {column: part if column == wrapped else row[column] if number == 0 else "" for column in kept}
        padded = [_pad(text, widths[column], column in right) for column, text in texts.items()]
        found.append((" " * GAP).join(padded).rstrip())
    return found


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * max(0, width - width_of(text))
    return space + text if right else text + space
