"""The table that a comparison ends with on a terminal: a row per method, the best value of each metric marked."""

import sys
from collections.abc import Iterator
from typing import Any

from ddbm_cli.cli import columns, terminal

BEST = "*"


def lines(event: Any) -> Iterator[str]:
    """Yield the lines of a `Compared` event's table for standard error, and its notes."""
    up, down = ("↑", "↓") if terminal.can_write("↑↓", sys.stderr) else ("+", "-")
    heads = [f"{name} {up if higher else down} " for name, higher in event.metrics.items()]
    rows = [["METHOD", "NFE", "S/IMAGE", *heads], *(_cells(event, row) for row in event.rows)]
    right = range(1, len(rows[0]))
    yield ""
    yield from columns.lines(rows, columns.terminal_width(sys.stderr), wrapped=0, right=right)
    if any(event.best.values()):
        yield f"{BEST} best of its column; {up} higher is better, {down} lower is better"
    for note in event.notes:
        yield f"Note: {note}"


def _cells(event: Any, row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["series"], "failed", "", *["" for _ in event.metrics]]
    values = [_value(row.get(name), row["method"] in event.best[name]) for name in event.metrics]
    return [row["series"], str(row["nfe"]), f"{row['seconds']:.3f}", *values]


def _value(value: float | None, best: bool) -> str:
    return "- " if value is None else f"{value:.4g}{BEST if best else ' '}"
