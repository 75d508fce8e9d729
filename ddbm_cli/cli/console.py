"""Events on a terminal: results on standard output, all that is for people on standard error.

On a terminal two bars show the pictures and each network evaluation of the batch at work; elsewhere plain lines.
Nothing here is imported before there is something to show: `--help` starts fast.
"""

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from ddbm_cli.cli.downloads import Downloads, human

if TYPE_CHECKING:
    from rich.progress import Progress

    from ddbm_cli.tasks.weights import WeightsEvent as Event

ALL_DONE, NOTHING_DONE, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130

MOST_NAMED = 5
"""Outputs that were kept, but differ, are named up to this number; all are in the JSON records."""


def error(message: str, hint: str) -> None:
    """Say what is wrong and what to do, in two lines."""
    _say(f"{_bold('Error:', typer.colors.RED)} {message}\n  {_bold('Try:')} {hint}")


def interrupted() -> None:
    """Say that ^C was heard, and that nothing is lost by it."""
    error("interrupted; what is finished is kept", "give the same command again: it goes on")


def emit(record: dict[str, Any]) -> None:
    """Write one JSON record to standard output, at once."""
    import json as json_module

    sys.stdout.write(json_module.dumps(record, default=str) + "\n")
    sys.stdout.flush()


def render(events: "Iterable[Event]", *, quiet: bool, json: bool, progress: bool) -> int:
    """Show a task's events as they come, and return its exit code.

    Args:
        quiet: nothing on standard error but failures.
        json: a record a line on standard output, in place of paths.
        progress: bars, where standard error is a terminal.
    """
    # Two writers to one terminal would spoil each other's lines, so records have precedence over bars.
    bars = progress and not quiet and sys.stderr.isatty() and not (json and sys.stdout.isatty())
    renderer = _Renderer(quiet=quiet, json=json, bars=_Bars() if bars else None)
    return renderer.run(events)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _bold(text: str, colour: str | None = None) -> str:
    return text if "NO_COLOR" in os.environ else typer.style(text, bold=True, fg=colour)


class _Renderer:
    """Turns events into lines, and keeps what is to be said at the end."""

    def __init__(self, *, quiet: bool, json: bool, bars: "_Bars | None") -> None:
        self._quiet = quiet
        self._json = json
        self._bars = bars
        self._downloads = Downloads()
        self._downloading = ""
        self._total = 0
        self._done = 0
        self._differing: list[str] = []
        self._failures: list[tuple[str, str]] = []
        self._code = ALL_DONE

    def run(self, events: "Iterable[Event]") -> int:
        stream = iter(events)
        try:
            for event in stream:
                if type(event).__name__ != "Pulling":
                    self._downloads.close()  # two things that move would spoil each other
                getattr(self, f"_{type(event).__name__.lower()}")(event)
            self._name_differing()
        except KeyboardInterrupt:
            if hasattr(stream, "close"):
                stream.close()  # the task finishes what it was writing
            self._close()
            interrupted()
            return INTERRUPTED
        finally:
            self._close()
        return self._code

    def _close(self) -> None:
        self._downloads.close()
        if self._bars:
            self._bars.close()
        for message, hint in self._failures:
            error(message, hint)
        self._failures.clear()

    def _note(self, text: str) -> None:
        if not self._quiet:
            _say(text)

    def _fact(self, name: str, text: str) -> None:
        self._note(f"{_bold(f'{name:<8}')} {text}")

    def _result(self, status: str, event: Any, **facts: Any) -> None:
        """Tell of an output: a record, or its path; on a terminal with bars the last line tells where all are."""
        if self._json:
            emit({**facts, "status": status, "input": event.source, "output": event.output})
        elif str(event.output) != "-" and not (self._bars and sys.stdout.isatty()):
            sys.stdout.write(f"{event.output}\n")
            sys.stdout.flush()

    def _step(self, text: str = "") -> None:
        """One picture more is through."""
        self._done += 1
        if self._bars:
            self._bars.picture()
        elif text:
            self._note(f"[{self._done}/{self._total}] {text}")

    def _pulling(self, event: Any) -> None:
        if self._bars:
            self._downloads.show(event)
        elif event.file != self._downloading:
            self._downloading = event.file
            self._fact("Fetching", f"{event.file}, {human(event.total)}")

    def _importing(self, event: Any) -> None:
        self._fact("Convert", f"{event.name}, once; this takes a while")

    def _doubted(self, event: Any) -> None:
        self._fact("Doubtful", f"{event.name}: self-check: {event.text}")

    def _noticed(self, event: Any) -> None:
        self._fact("Note", event.text)

    def _checked(self, event: Any) -> None:
        figures = ", ".join(f"{name} {value:.2f}" for name, value in event.figures.items())
        self._model("checked", event, line=f"{event.name}: self-check: {'; '.join(event.faults) or figures}")

    def _pulled(self, event: Any) -> None:
        self._fact("Here", f"{event.name}, {'checked' if event.fresh else 'as it was'}")
        self._model("pulled" if event.fresh else "kept", event, line=event.path)

    def _topull(self, event: Any) -> None:
        words = f"{human(event.bytes)} to fetch" if event.bytes != 0 else "here, nothing to fetch"
        more = ", to be converted once" if event.converts else ""
        self._model("intended", event, line=f"{event.name}: {words}{more} ({event.source})")

    def _verified(self, event: Any) -> None:
        self._model("verified", event, line=f"{event.name}: good: {event.path} (against {event.against})")

    def _removed(self, event: Any) -> None:
        self._model("removed", event, line=f"{event.name}: {human(event.freed)} freed")

    def _model(self, status: str, event: Any, *, line: Any) -> None:
        if self._json:
            emit({"status": status, **vars(event)})
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def _planned(self, event: Any) -> None:
        self._total, self._done = event.total, event.kept
        for name, fact in event.facts.items():
            self._fact(name, fact)
        if event.kept:
            self._fact("Kept", f"{event.kept} that are there already, {event.total - event.kept} to do")
        if self._bars:
            self._bars.start(event.total, event.kept)

    def _batchstarted(self, event: Any) -> None:
        if self._bars:
            self._bars.batch(event.images, event.nfe)

    def _evaluated(self, event: Any) -> None:
        if self._bars:
            self._bars.evaluation(event.nfe)

    def _written(self, event: Any) -> None:
        self._step(f"{event.source} -> {event.output}")
        self._result("written", event, **event.record)

    def _made(self, event: Any) -> None:
        self._step(event.text)

    def _intended(self, event: Any) -> None:
        self._result("intended", event)

    def _kept(self, event: Any) -> None:
        if event.differs:
            self._differing.append(f"{event.output} ({event.differs})")
        if self._json:
            facts = {"by": event.differs} if event.differs else {}
            self._result("differs" if event.differs else "kept", event, **facts)

    def _failed(self, event: Any) -> None:
        self._step()
        self._failures.append((event.message, event.hint))
        if self._json:
            emit({"status": "failed", "input": event.source, "error": event.message, "hint": event.hint})

    def _finished(self, event: Any) -> None:
        self._close()
        parts = [f"{event.written} {event.word}"]
        parts += [f"{event.kept} kept"] if event.kept else []
        parts += [f"{event.failed} failed"] if event.failed else []
        self._fact("Done", f"{', '.join(parts)} in {event.seconds:.1f} s")
        if self._json:
            emit({"status": "finished", "written": event.written, "kept": event.kept, "failed": event.failed})
        elif self._bars and sys.stdout.isatty() and event.written and event.output:
            sys.stdout.write(f"{event.output}\n")
        if event.failed:
            self._code = SOME_FAILED if event.written or event.kept else NOTHING_DONE

    def _name_differing(self) -> None:
        for text in self._differing[:MOST_NAMED]:
            self._fact("Differs", text)
        if self._differing:
            more = len(self._differing) - MOST_NAMED
            and_more = f"and {more} more; " if more > 0 else ""
            self._fact("", f"{and_more}kept, though made in another way: --overwrite makes them anew")


class _Bars:
    """Two bars: the pictures, and the network evaluations of the batch at work. They go when all is done."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._done = 0
        self._batch = 0
        self._share = 0.0
        self._total = 0
        self._calls = 0
        self._began = self._batch_began = 0.0

    def start(self, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        name, note = TextColumn("  {task.description:<7}"), TextColumn("{task.fields[note]}")
        # Redirecting would send paths meant for a pipe to the terminal.
        self._progress = Progress(
            name,
            BarColumn(),
            MofNCompleteColumn(),
            note,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._images = self._progress.add_task("Images", total=total, completed=done, note="")
        self._nfe = self._progress.add_task("NFE", total=None, note="", visible=False)
        self._total, self._left = total, total - done
        self._began = time.monotonic()
        self._progress.start()

    def batch(self, images: int, calls: int) -> None:
        if not self._progress:
            return
        if not self._calls:
            self._began = time.monotonic()  # the first batch: reading has begun before
        self._batch, self._calls, self._share = images, calls, 0.0
        self._batch_began = time.monotonic()
        self._progress.update(self._nfe, total=calls, completed=0, visible=True, note=f"batch {images}")

    def evaluation(self, number: int) -> None:
        if not self._progress:
            return
        self._share = number / self._calls
        rate = number / max(time.monotonic() - self._batch_began, 1e-9)
        note = f"batch {self._batch} · {rate:.1f} NFE/s"
        self._progress.update(self._nfe, completed=number, note=note)
        self._note()

    def picture(self) -> None:
        if self._progress:
            self._done += 1
            self._progress.advance(self._images)
            self._note()

    def close(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _note(self) -> None:
        """Show rate and time left, counting the share of the batch at work that is done."""
        if not self._progress:
            return
        through = self._done + self._share * self._batch
        rate = through / max(time.monotonic() - self._began, 1e-9)
        left = max(0, round((self._left - through) / max(rate, 1e-9)))
        clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        self._progress.update(self._images, note=f"{rate:.1f} img/s  {clock} left")
