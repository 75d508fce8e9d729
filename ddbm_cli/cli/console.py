"""Events on a terminal: results on standard output, all that is for people on standard error.

On a terminal two bars show the pictures and each network evaluation of the batch at work; elsewhere plain lines.
"""

import json as json_module
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from ddbm_cli.tasks.events import Event

ALL_DONE, NOTHING_DONE, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130


class _Rate(ProgressColumn):
    """Completed units a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {task.fields['unit']}/s" if task.speed else "", style="cyan")


def error(message: str, hint: str) -> None:
    """Say what is wrong and what to do, in two lines."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]Error:[/] ", end="")
    console.print(message, markup=False)
    console.print("  [bold]Try:[/] ", end="")
    console.print(hint, markup=False)


def emit(record: dict[str, Any]) -> None:
    """Write one JSON record to standard output, at once."""
    sys.stdout.write(json_module.dumps(record, default=str) + "\n")
    sys.stdout.flush()


def render(events: "Iterable[Event]", *, quiet: bool, json: bool, progress: bool) -> int:
    """Show a task's events as they come, and return its exit code.

    Args:
        quiet: nothing on standard error but failures.
        json: a record a line on standard output, in place of paths.
        progress: bars, where standard error is a terminal.
    """
    return _Renderer(quiet=quiet, json=json, progress=progress).run(events)


class _Renderer:
    def __init__(self, *, quiet: bool, json: bool, progress: bool) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._json = json
        columns = (
            TextColumn("  {task.description:<7}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        shown = progress and not quiet and self._console.is_terminal
        self._bars = Progress(*columns, console=self._console, transient=True, disable=not shown)
        self._images = self._bars.add_task("Images", total=None, unit="img", visible=False)
        self._nfe = self._bars.add_task("NFE", total=None, unit="NFE", visible=False)
        self._failures: list[tuple[str, str]] = []
        self._code = ALL_DONE

    def run(self, events: "Iterable[Event]") -> int:
        try:
            with self._bars:
                for event in events:
                    getattr(self, f"_{type(event).__name__.lower()}")(event)
        except KeyboardInterrupt:
            error("interrupted; what is finished is kept", "give the same command again: it goes on")
            return INTERRUPTED
        return self._code

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False)

    def _result(self, path: object, record: dict[str, Any]) -> None:
        if self._json:
            emit(record)
        else:
            sys.stdout.write(f"{path}\n")

    def _planned(self, event: Any) -> None:
        for name, fact in event.facts.items():
            self._say(f"{name:<8} {fact}")
        if event.kept:
            self._say(f"{'Kept':<8} {event.kept} that are there already")
        self._bars.update(self._images, total=event.total, completed=event.kept, visible=True)

    def _batchstarted(self, event: Any) -> None:
        self._bars.reset(self._nfe, total=event.nfe, visible=True)

    def _evaluated(self, event: Any) -> None:
        self._bars.update(self._nfe, completed=event.nfe)

    def _written(self, event: Any) -> None:
        self._bars.advance(self._images)
        self._result(
            event.output, {"status": "written", "input": event.source, "output": event.output} | event.record
        )

    def _kept(self, event: Any) -> None:
        if event.differs:
            self._say(f"kept, differs: {event.output} was made in another way; make it anew with --overwrite")
        if self._json:
            status = "kept, differs" if event.differs else "kept"
            emit({"status": status, "input": event.source, "output": event.output})

    def _failed(self, event: Any) -> None:
        self._bars.advance(self._images)
        self._failures.append((event.message, event.hint))
        if self._json:
            emit({"status": "failed", "input": event.source, "error": event.message, "hint": event.hint})

    def _finished(self, event: Any) -> None:
        self._bars.stop()
        for message, hint in self._failures:
            error(message, hint)
        parts = [f"{event.written} written"]
        parts += [f"{event.kept} kept"] if event.kept else []
        parts += [f"{event.failed} failed"] if event.failed else []
        where = f", in {event.output}" if event.output else ""
        self._say(f"{'Done':<8} {', '.join(parts)} in {event.seconds:.1f} s{where}")
        if self._json:
            emit({"status": "finished", "written": event.written, "kept": event.kept, "failed": event.failed})
        if event.failed:
            self._code = SOME_FAILED if event.written or event.kept else NOTHING_DONE
