"""How a download looks: a bar with its bytes on a terminal, a line elsewhere."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from ddbm_cli.registry.events import Pulling

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def human(size: float | None) -> str:
    """Return a number of bytes as people say it: 1.18 GB."""
    if size is None:
        return "of unknown size"
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.3g} {UNITS[unit]}"


class Downloads:
    """One bar for each file, on standard error; finished bars stay."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._file = ""

    def show(self, event: "Pulling") -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
            # Redirecting would send results meant for a pipe to the terminal.
            self._progress = Progress(
                TextColumn("  {task.description}", markup=False),
                *columns,
                console=Console(file=sys.stderr),
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
        if event.file != self._file:
            self._file = event.file
            self._task = self._progress.add_task(event.file, total=event.total, completed=event.done)
        self._progress.update(self._task, completed=event.done)

    def close(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress, self._file = None, ""
