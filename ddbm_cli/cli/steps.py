"""The live display of a training: a bar of its steps, and a table of the newest figures below it."""

from typing import TYPE_CHECKING, Any

from ddbm_cli.cli.bars import Bar, progress_of, text_of

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from ddbm_cli.foundation.events import Stepped, Validated

SMOOTHING = 0.98
"""Weight of earlier steps in the displayed average of the loss."""

NONE = "-"


class Steps(Bar):
    """Steps and pace of a training in a bar; loss, gradient norm, learning rate and validation loss in a table."""

    def __init__(self) -> None:
        super().__init__()
        self._loss = 0.0
        self._first: Stepped | None = None
        self._live: Live | None = None
        self._figures = {"loss": NONE, "gradient norm": NONE, "learning rate": NONE, "validation": NONE, "best": NONE}

    def start(self, total: int, done: int) -> None:
        """Show the bar and the table."""
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

        self.close()
        columns = text_of("  Steps"), BarColumn(), MofNCompleteColumn(), text_of("{task.fields[note]}")
        self._progress = progress_of(*columns, TimeRemainingColumn(), transient=True)
        self._task = self._progress.add_task("steps", total=total, completed=done, note="")
        self._live = Live(
            get_renderable=self._shown,
            console=self._progress.console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def step(self, event: "Stepped") -> None:
        """Move the bar to a step."""
        self._loss = SMOOTHING * self._loss + (1 - SMOOTHING) * event.loss if self._loss else event.loss
        self._first = first = self._first or event
        pace = (event.step - first.step) / max(event.seconds - first.seconds, 1e-9)
        self._figures |= {
            "loss": f"{self._loss:.4g}",
            "gradient norm": f"{event.gradient_norm:.3g}",
            "learning rate": f"{event.rate:.3g}",
        }
        if self._progress:
            note = f"{pace:.1f} steps/s"
            self._progress.update(self._task, completed=event.step, total=event.total, note=note)

    def validated(self, event: "Validated") -> None:
        """Show the loss of a validation."""
        shown = f"{event.scores.get('loss', 0.0):.4g} at {event.step}"
        self._figures |= {"validation": shown} | ({"best": shown} if event.best else {})

    def close(self) -> None:
        """Remove the bar and the table."""
        if self._live:
            self._live.stop()
            self._live = None
        super().close()

    def _shown(self) -> Any:
        from rich.console import Group

        assert self._progress
        return Group(self._progress, self._table())

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=True, padding=(0, 0, 0, 2), header_style="bold")
        for name in self._figures:
            table.add_column(name, justify="right", min_width=len(name))
        table.add_row(*(Text(figure) for figure in self._figures.values()))
        return table
