"""How an evaluation looks: one bar while it runs, then the figures as a table, CSV or JSON on standard output."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from ddbm_cli.cli import console

if TYPE_CHECKING:
    from ddbm_cli.metrics import Figure
    from ddbm_cli.tasks.evaluate import EvaluateEvent, Reported

Form = Literal["table", "csv", "json"]
MOST_NAMED = 5
COLUMNS = ("name", "value", "low", "high", "count", "higher_is_better", "recipe", "note")


def render(events: "Iterator[EvaluateEvent]", *, form: Form, quiet: bool, progress: bool, asked: bool) -> int:
    """Show an evaluation as it goes, and return its exit code.

    Args:
        asked: the metrics were named one by one, so that one that cannot be had is a failure.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ddbm_cli.tasks.evaluate import Measured, Noticed, Reported
    from ddbm_cli.tasks.events import Failed, Planned

    # A line of facts is as long as it is, and a path is no markup.
    screen = Console(stderr=True, quiet=quiet, markup=False, highlight=False, soft_wrap=True)
    columns = TextColumn("  Images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    shown = progress and not quiet and screen.is_terminal
    bar = Progress(*columns, console=screen, transient=True, disable=not shown, redirect_stdout=False)
    task, failures = bar.add_task("images"), []
    try:
        for event in events:
            if isinstance(event, Planned):
                for name, fact in event.facts.items():
                    screen.print(f"{name:<8} {fact}")
                bar.update(task, total=event.total)
                bar.start()
            elif isinstance(event, Measured):
                bar.advance(task, event.images)
            elif isinstance(event, Noticed):
                screen.print(f"Note     {_notice(event)}")
            elif isinstance(event, Failed):
                bar.advance(task)
                failures.append(event)
            elif isinstance(event, Reported):
                bar.stop()
                {"table": _table, "csv": _csv, "json": _json}[form](event)
                sys.stdout.flush()
                code = _code(event, asked)
                screen.print(f"Done     {_counted(event)}")
    except KeyboardInterrupt:
        events.close()  # type: ignore[attr-defined]
        bar.stop()
        console.error("interrupted; nothing was written", "give the same command again")
        return console.INTERRUPTED
    finally:
        bar.stop()
        for failure in failures:
            console.error(failure.message, failure.hint)
    return code


def _code(event: "Reported", asked: bool) -> int:
    if not event.pictures:
        return console.NOTHING_DONE
    return console.SOME_FAILED if event.failed or (asked and event.unavailable) else console.ALL_DONE


def _notice(event: Any) -> str:
    named, more = event.names[:MOST_NAMED], len(event.names) - MOST_NAMED
    names = f"{', '.join(named)}{f' and {more} more' if more > 0 else ''}"
    return f"{event.message}{f' ({names})' if names else ''}{f'; try: {event.hint}' if event.hint else ''}"


def _counted(event: "Reported") -> str:
    parts = [f"{event.pictures} measured"]
    for count, word in ((event.failed, "failed"), (event.missing, "missing"), (event.odd, "without a partner")):
        parts += [f"{count} {word}"] if count else []
    return f"{', '.join(parts)} in {event.seconds:.1f} s"


def _table(event: "Reported") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("FIGURE", no_wrap=True)
    table.add_column("VALUE", justify="right", no_wrap=True)
    table.add_column("95 % INTERVAL", no_wrap=True)
    table.add_column("N", justify="right", no_wrap=True)
    table.add_column("HOW")
    for figure in event.figures:
        table.add_row(*_cells(figure))
    Console(markup=False, highlight=False).print(table)


def _cells(figure: "Figure") -> tuple[str, ...]:
    label = f"{figure.label} {'↑' if figure.higher_is_better else '↓'}"
    value = "-" if figure.value is None else f"{figure.value:.4g}"
    interval = "" if figure.low is None or figure.high is None else f"{figure.low:.4g} .. {figure.high:.4g}"
    how = f"{figure.recipe}; {figure.note}" if figure.note else figure.recipe
    return label, value, interval, str(figure.count), how


def _csv(event: "Reported") -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(COLUMNS)
    for figure in event.figures:
        facts = asdict(figure)
        table.writerow(["" if facts[column] is None else facts[column] for column in COLUMNS])


def _json(event: "Reported") -> None:
    console.emit({"status": "finished", **asdict(event)})
