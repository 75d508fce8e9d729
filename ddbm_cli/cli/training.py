"""How a training run looks on a terminal: its header, one bar, a line for each look at held-out pairs."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddbm_cli.tasks.train import TrainEvent

INTERRUPTED = 130


@contextmanager
def stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Turn the first ^C (or SIGTERM) into a question that the run answers between two steps; a second one is final."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def render(
    events: "Iterator[TrainEvent]", *, stopped: Callable[[], bool], quiet: bool, json: bool, progress: bool
) -> int:
    """Show a run as it goes: results on standard output, all else on standard error. Return the exit code."""
    import json as json_module

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ddbm_cli.tasks.events import Planned
    from ddbm_cli.training import Saved, Stepped, Validated

    console = Console(stderr=True, quiet=quiet)
    bar = Progress(
        TextColumn("  Steps"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not progress or not console.is_terminal,
    )
    run, loss, began = "", 0.0, None
    task = bar.add_task("steps", total=None, note="")
    try:
        for event in events:
            if json:
                sys.stdout.write(json_module.dumps({"event": type(event).__name__.lower()} | vars(event), default=str))
                sys.stdout.write("\n")
                sys.stdout.flush()
            if isinstance(event, Planned):
                run = event.facts["Run"]
                for name, fact in event.facts.items():
                    console.print(f"[bold]{name:8}[/] {fact}", highlight=False, soft_wrap=True)
                bar.update(task, total=event.total, completed=event.kept)
                bar.start()
            elif isinstance(event, Stepped):
                loss = event.loss if not loss else 0.98 * loss + 0.02 * event.loss
                began = began or event
                pace = (event.step - began.step) / max(event.seconds - began.seconds, 1e-9)
                bar.update(task, completed=event.step, note=f"loss {loss:.3f} · {pace:.1f} steps/s")
            elif isinstance(event, Validated):
                scores = "  ".join(f"{name} {value:.4f}" for name, value in event.scores.items())
                mark = "  best so far" if event.best else ""
                console.print(f"step {event.step}: held out: {scores}{mark}", highlight=False)
            elif isinstance(event, Saved):
                console.print(f"step {event.step}: saved", highlight=False, style="dim")
    finally:
        bar.stop()
    if not json:
        sys.stdout.write(f"{run}/model.safetensors\n")
    if stopped():
        console.print(f"Stopped; go on with: ddbm train --resume {run}", highlight=False)
        return INTERRUPTED
    return 0
