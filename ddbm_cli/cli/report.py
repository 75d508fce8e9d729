"""The figures of an evaluation on standard output, as a table or as CSV."""

import csv
import io
import sys
from dataclasses import asdict
from typing import Any

from ddbm_cli.cli import columns, terminal
from ddbm_cli.foundation.text import printable

COLUMNS = ("name", "value", "low", "high", "count", "higher_is_better", "recipe", "note")
"""Columns of the CSV."""


def as_table(event: Any) -> None:
    """Write the figures as a table."""
    better = ("↑", "↓") if terminal.can_write("↑↓", sys.stdout) else ("(higher is better)", "(lower is better)")
    header = "FIGURE", "VALUE", "95 % INTERVAL", "N", "HOW"
    columns.show([header, *(_cells(figure, better) for figure in event.figures)], wrapped=4, right=(1, 3))


def as_csv(event: Any) -> None:
    """Write the figures as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for figure in event.figures:
        facts = asdict(figure)
        table.writerow(["" if facts[column] is None else printable(facts[column]) for column in COLUMNS])
    for line in text.getvalue().splitlines():
        terminal.out(line)


def _cells(figure: Any, better: tuple[str, str]) -> tuple[str, ...]:
    label = f"{figure.label} {better[0] if figure.higher_is_better else better[1]}"
    value = "-" if figure.value is None else f"{figure.value:.4g}"
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.4g} .. {figure.high:.4g}"
    how = f"{figure.recipe}; {figure.note}" if figure.note else figure.recipe
    return label, value, interval, str(figure.count), how
