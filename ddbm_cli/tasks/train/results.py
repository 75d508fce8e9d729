"""Tables of a run: results.csv has a row for each validation, metrics.csv means of losses over some steps."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ddbm_cli.foundation.documents import read_table
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.files import write_text

MAX_BYTES = 2**24


class Results:
    """A table with a row for each of some steps; every change replaces the whole file.

    Args:
        file: the table, which may not exist yet.
        step: the step that the run resumes from; rows of later steps are removed, because those are done again.
        kept: leave the file as it is until there is another row.

    Raises:
        DdbmError: the file is not such a table.
    """

    def __init__(self, file: Path, *, step: int, kept: bool = False) -> None:
        self._file = file
        self._rows: dict[int, dict[str, str]] = {}
        if not file.exists():
            return
        for row in _read(file):
            number = str(row.get("step"))
            if number.isascii() and number.isdecimal() and len(number) < 20 and int(number) <= step:
                self._rows[int(number)] = row  # of rows for one step, the last
        if not kept:
            self.write()

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows, by step."""
        return [row for _, row in sorted(self._rows.items())]

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Add the row of a step, or replace it."""
        self.hold(step, scores)
        self.write()

    def hold(self, step: int, scores: Mapping[str, float]) -> None:
        """Add the row of a step, which the next `write` writes."""
        self._rows[step] = {"step": str(step), **{name: str(value) for name, value in scores.items()}}

    def write(self) -> None:
        """Write the file.

        Raises:
            OSError: it cannot be written.
        """
        columns = list(dict.fromkeys(["step", *(name for row in self._rows.values() for name in row)]))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        if self._rows:
            writer.writeheader()
        writer.writerows(row for _, row in sorted(self._rows.items()))
        write_text(self._file, text.getvalue())


def _read(file: Path) -> list[dict[str, str]]:
    hint = "move it out of the run's folder, and resume again"
    rows = read_table(file, hint=hint, error=DdbmError, limit=MAX_BYTES)
    if rows and "step" not in rows[0]:
        raise DdbmError(f"{file}: not a table of a run", hint=hint)
    return rows
