"""The table that a comparison ends with on a terminal: a row per method, the best value of each metric marked."""

import sys
from collections.abc import Iterator
from typing import Any

from ddbm_cli.cli import columns, terminal

BEST = "*"


def lines(event: Any) -> Iterator[str]:
    """Yield the lines of a `Compared` event's table for standard error."""
    up, down = ("↑", "↓") if terminal.can_write("↑↓", sys.stderr) else ("+", "-")
    heads = [f"{name} {up if higher else down} " for name, higher in event.metrics.items()]
    body = [_cells(event, row) for row in event.rows]
    rows = [["METHOD", "NFE", "S/IMAGE", *heads], *body]
    right, width = range(1, len(rows[0])), columns.terminal_width(sys.stderr)
    if width is not None and columns.width_of(columns.lines(rows, None, wrapped=0, right=right)[0]) > width:
        rows = [["", "", "", *map(_first_words, heads)], ["METHOD", "NFE", "S/IMAGE", *map(_last_word, heads)], *body]
    yield ""
    yield from columns.lines(rows, width, wrapped=0, right=right)
    if any(event.best.values()):
        yield f"{BEST} best of its column; {up} higher is better, {down} lower is better"


def _first_words(head: str) -> str:
    """Return the upper line of a heading such as "Sliced Wasserstein ↓ "."""
    return f"{' '.join(head.split()[:-2])}  "


def _last_word(head: str) -> str:
    """Return the lower line of a heading, with its arrow."""
    return f"{' '.join(head.split()[-2:])} "


def _cells(event: Any, row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["series"], "failed", "", *["" for _ in event.metrics]]
    values = [_value(row.get(name), row["method"] in event.best[name]) for name in event.metrics]
    return [row["series"], str(row["nfe"]), f"{row['seconds']:.3f}", *values]


def _value(value: float | None, best: bool) -> str:
    return "- " if value is None else f"{value:.4g}{BEST if best else ' '}"
