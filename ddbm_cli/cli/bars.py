"""Bars on a terminal: images and the network evaluations of a batch, bytes of a download; see also `steps`.

Nothing here is imported before there is something to show, so that `--help` starts fast.
"""

import sys
import time
from typing import TYPE_CHECKING, Any

from ddbm_cli.cli import terminal
from ddbm_cli.foundation.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from ddbm_cli.foundation.events import Pulling

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def human(size: float | None) -> str:
    """Return a number of bytes as people write it: 1.18 GB."""
    if size is None:
        return "of unknown size"
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.3g} {UNITS[unit]}"


def figures_of(figures: dict[str, float]) -> str:
    """Return figures in one line, with two digits after the point."""
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items())


def progress_of(*columns: "ProgressColumn", transient: bool) -> "Progress":
    """Return bars on standard error; transient ones are removed when they stop."""
    from rich.console import Console
    from rich.progress import Progress

    # Redirecting would send paths meant for a pipe to the terminal.
    return Progress(
        *columns,
        console=Console(file=terminal.raw(sys.stderr), markup=False, highlight=False),
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def text_of(template: str) -> "ProgressColumn":
    """Return a column of text in one line, with the fields of a task in braces."""
    from rich.progress import TextColumn
    from rich.table import Column

    return TextColumn(template, markup=False, table_column=Column(no_wrap=True))


class Bar:
    """What bars share: lines for people are written above them."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    @property
    def console(self) -> "Console | None":
        """What is printed to it appears above the bars; None where there are none."""
        return self._progress.console if self._progress else None

    def say(self, name: str, text: str) -> bool:
        """Write a line above the bars; return False where there are none."""
        if self._progress is None:
            return False
        from rich.text import Text

        first, *more = terminal.wrapped(text, terminal.raw(sys.stderr), indent=len(name) + bool(name))
        lines = [Text.assemble((printable(name), "bold"), " " if name else "", first)]
        lines += [Text(" " * (len(name) + bool(name)) + line) for line in more]
        for line in lines:
            self._progress.console.print(line, soft_wrap=True)
        return True

    def close(self) -> None:
        """Remove the bars."""
        if self._progress:
            self._progress.stop()
            self._progress = None


class Images(Bar):
    """Two bars: the images, and the network evaluations of the current batch. They go when all is done."""

    def __init__(self) -> None:
        super().__init__()
        self._done = 0
        self._batch = 0
        self._share = 0.0
        self._calls = 0
        self._left = 0
        self._began = self._batch_began = 0.0

    def start(self, total: int, done: int) -> None:
        """Show the bar of images, at the first ones to do."""
        from rich.progress import BarColumn, MofNCompleteColumn

        self.close()
        name, note = text_of("  {task.description:<7}"), text_of("{task.fields[note]}")
        self._progress = progress_of(name, BarColumn(), MofNCompleteColumn(), note, transient=True)
        self._images = self._progress.add_task("Images", total=total, completed=done, note="")
        self._nfe = self._progress.add_task("NFE", total=None, note="", visible=False)
        self._done, self._left = 0, total - done
        self._began = time.monotonic()
        self._progress.start()

    def more(self, images: int) -> None:
        """Add images to do."""
        if self._progress:
            self._left += images
            self._progress.update(self._images, total=self._left)

    def batch(self, images: int, calls: int) -> None:
        """Begin a batch of so many images, each of so many network evaluations."""
        if not self._progress:
            return
        if not self._calls:
            self._began = time.monotonic()  # the first batch: reading has begun before
        self._batch, self._calls, self._share = images, calls, 0.0
        self._batch_began = time.monotonic()
        self._progress.update(self._nfe, total=calls, completed=0, visible=True, note=f"batch {images}")

    def evaluation(self, number: int) -> None:
        """Move the bar of network evaluations to a number."""
        if not self._progress:
            return
        self._share = number / max(self._calls, 1)
        rate = number / max(time.monotonic() - self._batch_began, 1e-9)
        self._progress.update(self._nfe, completed=number, note=f"batch {self._batch}  {rate:.1f} NFE/s")
        self._note()

    def advance(self, images: int = 1) -> None:
        """Count images that are done, or failed."""
        if self._progress:
            self._done += images
            self._share = max(0.0, self._share - images / max(self._batch, 1))  # no longer a part of the batch
            self._progress.advance(self._images, images)
            self._note()

    def _note(self) -> None:
        """Show the rate and the time left, counting the share of the current batch that is done."""
        if not self._progress:
            return
        done = self._done + self._share * self._batch
        rate = done / max(time.monotonic() - self._began, 1e-9)
        left = max(0, round((self._left - done) / max(rate, 1e-9)))
        remaining = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        self._progress.update(self._images, note=f"{rate:.1f} img/s  {remaining} left")


class Downloads(Bar):
    """One bar for each file that is downloaded; finished bars stay."""

    def __init__(self) -> None:
        super().__init__()
        self._file = ""
        self._task: Any = None

    def show(self, event: "Pulling") -> None:
        """Move the bar of a file, which is made when the file is new."""
        if self._progress is None:
            from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

            columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
            self._progress = progress_of(text_of("  {task.description}"), *columns, transient=False)
            self._progress.start()
        if event.file != self._file:
            self._file = event.file
            self._task = self._progress.add_task(printable(event.file), total=event.total, completed=event.done)
        self._progress.update(self._task, completed=event.done)

    def close(self) -> None:
        """Leave the bars where they are."""
        super().close()
        self._file = ""
