"""Events on a terminal: one renderer for all commands, and one JSON form.

Results go to standard output, everything for people to standard error. On a terminal bars show what is going on;
elsewhere there are plain lines. With `--json`, standard output holds one line for each event; see `manual/json.md`.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ddbm_cli.cli import comparison, serving, terminal
from ddbm_cli.cli.bars import Downloads, Images, figures_of, human
from ddbm_cli.cli.preview import Preview
from ddbm_cli.cli.steps import Steps
from ddbm_cli.cli.terminal import emit, error
from ddbm_cli.foundation.event_lines import TICKS, as_record, event_name

ALL_DONE, NOTHING_DONE, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130

MOST_NAMED = 5
"""Files with the same error or difference are named up to this number; JSON lines name all."""

AGAIN = "run the same command again to resume"

__all__ = ["ALL_DONE", "INTERRUPTED", "NOTHING_DONE", "SOME_FAILED", "emit", "error", "interrupted", "render"]


def interrupted() -> None:
    """Say that Ctrl-C ended the command, and that finished outputs are kept."""
    error("interrupted; finished outputs are kept", AGAIN)


def render(
    events: Iterable[Any],
    *,
    quiet: bool = False,
    json: bool = False,
    progress: bool = True,
    table: Callable[[Any], None] | None = None,
    all_wanted: bool = False,
    preview: bool = False,
) -> int:
    """Show a task's events as they come, and return its exit code.

    Args:
        events: what the task yields.
        quiet: write only failures to standard error.
        json: write one JSON line for each event to standard output, in place of results.
        progress: show bars, where standard error is a terminal.
        table: writes the figures of an evaluation to standard output.
        all_wanted: a metric that is not available is a failure, because the user specified it.
        preview: show the images that are written, and the newest samples of a training; see `cli.preview`.
    """
    # Bars and JSON lines on one terminal would overwrite each other, so no bars are shown with JSON.
    on_terminal = terminal.is_terminal(sys.stderr) and not (json and terminal.is_terminal(sys.stdout))
    renderer = _Renderer(quiet=quiet, json=json, bars=progress and not quiet and on_terminal)
    renderer.table, renderer.all_wanted = table, all_wanted
    if preview:
        renderer.show_images()
    return renderer.run(events)


class _Renderer:
    """Turns events into lines, and keeps what is printed at the end."""

    table: Callable[[Any], None] | None = None
    all_wanted = False

    def __init__(self, *, quiet: bool, json: bool, bars: bool) -> None:
        self._quiet = quiet
        self._json = json
        self._images = Images() if bars else None
        self._steps = Steps() if bars else None
        self._downloads = Downloads()
        self._downloading = ""
        self._total = 0
        self._done = 0
        self._differing: list[str] = []
        self._failures: dict[tuple[str, str], list[Any]] = {}
        self._code = ALL_DONE
        self._preview: Preview | None = None

    def show_images(self) -> None:
        """Show images from now on; say why where the terminal cannot."""
        preview = Preview()
        self._preview = None if preview.reason else preview
        if preview.reason:
            self._fact("Note", f"--preview shows nothing: {preview.reason}")

    def run(self, events: Iterable[Any]) -> int:
        stream = iter(events)
        try:
            for event in stream:
                name = event_name(type(event))
                if name != "pulling":
                    self._downloads.close()  # two bars would overwrite each other
                if self._json and name not in TICKS and not (name == "pulling" and event.file == self._downloading):
                    emit(as_record(event))
                getattr(self, f"_{name}", lambda event: None)(event)
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
        for bar in (self._downloads, self._images, self._steps):
            if bar:
                bar.close()
        for same in self._failures.values():
            error(same[0].message, same[0].hint)
            more = len(same) - 1 - MOST_NAMED
            if same[1:]:
                named = ", ".join(str(each.source) for each in same[1 : 1 + MOST_NAMED])
                terminal.say(f"  The same error: {named}{f' and {more} more' if more > 0 else ''}")
        self._failures.clear()

    def _fact(self, name: str, text: str) -> None:
        if self._quiet or any(bar and bar.say(f"{name:<8}", text) for bar in (self._images, self._steps)):
            return
        terminal.fact(name, text)

    def _line(self, text: str) -> None:
        if self._quiet or any(bar and bar.say("", text) for bar in (self._images, self._steps)):
            return
        terminal.say(text)

    def _result(self, text: object) -> None:
        if not self._json:
            terminal.out(text)

    def _is_covered(self) -> bool:
        """Return whether bars and results would share a terminal; then only the last line names the output."""
        return bool(self._images) and terminal.is_terminal(sys.stdout)

    def _step(self, text: str = "", images: int = 1) -> None:
        """Count images that are done, or failed."""
        self._done += images
        if self._images:
            self._images.advance(images)
        elif text:
            self._line(f"[{self._done}/{self._total}] {text}")

    def _show(self, image: Path, sheet: Any = None) -> None:
        if self._preview:
            above = [bar.console for bar in (self._images, self._steps) if bar and bar.console]
            self._preview.draw(image, *above[:1], sheet=sheet)

    # Models

    def _pulling(self, event: Any) -> None:
        if self._images:
            self._downloads.show(event)
        elif event.file != self._downloading:
            self._fact("Download", f"{event.file}, {human(event.total)}")
        self._downloading = event.file

    def _importing(self, event: Any) -> None:
        self._fact("Convert", f"{event.name}: once, this takes a while")

    def _surveying(self, event: Any) -> None:
        if not event.done:
            self._fact("Measure", f"colours of {event.folder}, {event.total} images")
        if self._images and not self._total:  # a comparison has its own bar
            self._images.advance() if event.done else self._images.start(event.total, 0)

    def _doubted(self, event: Any) -> None:
        self._fact("Warning", f"{event.name}: self-check: {event.text}")

    def _self_checked(self, event: Any) -> None:
        self._result(f"{event.name}: self-check: {'; '.join(event.faults) or figures_of(event.figures)}")

    def _pulled(self, event: Any) -> None:
        self._fact("Model", f"{event.name}: {'downloaded and checked' if event.fresh else 'was downloaded already'}")
        self._result(event.path)

    def _to_pull(self, event: Any) -> None:
        words = f"{human(event.bytes)} to download" if event.bytes != 0 else "nothing to download"
        converted = ", converted once" if event.converts else ""
        self._result(f"{event.name}: {words}{converted} ({event.source})")

    def _verified(self, event: Any) -> None:
        self._result(f"{event.name}: ok: {event.path} (compared with {event.against})")

    def _removed(self, event: Any) -> None:
        self._result(f"{event.name}: {human(event.freed)} freed")

    def _imported(self, event: Any) -> None:
        self._fact("Model", f"{event.model}, {event.parameters:,} parameters, {event.dtype}, {human(event.bytes)}")
        self._fact("Check", f"faults: {'; '.join(event.faults)}" if event.faults else figures_of(event.figures))
        for note in event.notes:
            self._fact("Note", note)
        self._result(event.output)

    def _exported(self, event: Any) -> None:
        self._fact("Model", f"{event.model}, {human(event.bytes)}")
        if event.output.is_dir():
            loads = "loads the network (UNet2DModel, subfolder unet), but has no pipeline for it; to sample, use ddbm"
            loads = loads if event.loads else "cannot load this network; only ddbm reads the folder"
            self._fact("Diffusers", loads)
        self._result(event.output)

    def _uploaded(self, event: Any) -> None:
        listed = ", ".join(f"{name} ({human(size)})" for name, size in event.files.items())
        self._fact("Would be" if event.dry_run else "Uploaded", listed)
        self._result(event.url)

    def _diagnosed(self, event: Any) -> None:
        self._result(f"{'ok' if event.ok else '!!'}  {event.name:<9}  {event.found}")
        if not event.ok:
            self._result(f"{'':15}Hint: {event.hint}")
            self._code = NOTHING_DONE if event.severity == "error" else self._code

    def _tuned(self, event: Any) -> None:
        self._fact("Tuned", f"{event.nfe} evaluations: {event.sampler}, grid {event.grid}")
        gain = f"{event.before:.4f} -> {event.after:.4f}"
        error = "" if event.error_after is None else f"; error {event.error_before:.4f} -> {event.error_after:.4f}"
        self._fact(
            "", f"distance {gain}{error}, {event.images} other images; {event.trials} trials, {event.seconds:.0f} s"
        )

    # Images

    def _planned(self, event: Any) -> None:
        self._total, self._done = event.total, event.kept
        for name, text in event.facts.items():
            self._fact(name, text)
        if event.kept:
            self._fact("Kept", f"{event.kept} exist already, {event.total - event.kept} to do")
        bar = self._steps if event.unit == "steps" else self._images
        if bar:
            bar.start(event.total, event.kept)

    def _arrived(self, event: Any) -> None:
        self._total += event.images
        if self._images:
            self._images.more(event.images)

    def _batch_started(self, event: Any) -> None:
        if self._images:
            self._images.batch(event.images, event.nfe)

    def _evaluated(self, event: Any) -> None:
        if self._images:
            self._images.evaluation(event.nfe)

    def _measured(self, event: Any) -> None:
        self._step(images=event.images)

    def _written(self, event: Any) -> None:
        self._step(f"{event.source} -> {event.output}")
        if str(event.output) != "-":
            self._show(event.output)
            if not self._is_covered():
                self._result(event.output)

    def _made(self, event: Any) -> None:
        self._step(event.text)

    def _intended(self, event: Any) -> None:
        if self._images:
            self._images.close()  # nothing will move
        self._result(event.output)

    def _kept(self, event: Any) -> None:
        if event.differs:
            self._differing.append(f"{event.output} ({event.differs})")

    def _failed(self, event: Any) -> None:
        self._step()
        reason = event.message.replace(str(event.source), "", 1)
        self._failures.setdefault((reason, event.hint), []).append(event)

    def _noticed(self, event: Any) -> None:
        named, more = event.names[:MOST_NAMED], len(event.names) - MOST_NAMED
        names = f" ({', '.join(named)}{f' and {more} more' if more > 0 else ''})" if named else ""
        self._fact("Note", f"{event.message}{names}{f'. Hint: {event.hint}' if event.hint else ''}")

    def _compared(self, event: Any) -> None:
        self._close()
        for line in comparison.lines(event) if not self._quiet else ():
            terminal.say(line)
        for note in event.notes:
            self._fact("Note", note)

    def _finished(self, event: Any) -> None:
        self._close()
        counts = ((event.written, event.word), (event.kept, "kept"), (event.failed, "failed"))
        parts = [f"{count} {word}" for count, word in counts if count or word == event.word]
        self._fact("Done", f"{', '.join(parts)} in {event.seconds:.1f} s")
        if self._is_covered() and event.written and event.output:
            self._result(event.output)
        if event.failed:
            self._code = SOME_FAILED if event.written or event.kept else NOTHING_DONE

    def _listening(self, event: Any) -> None:
        serving.listening(event, self._fact, self._result)

    def _reported(self, event: Any) -> None:
        self._close()
        if self.table and not self._json:
            self.table(event)
        counts = ((event.failed, "failed"), (event.missing, "missing"), (event.odd, "without a partner"))
        parts = [f"{event.pictures} measured", *(f"{count} {word}" for count, word in counts if count)]
        self._fact("Done", f"{', '.join(parts)} in {event.seconds:.1f} s")
        incomplete = event.failed or (self.all_wanted and event.unavailable)
        self._code = NOTHING_DONE if not event.pictures else SOME_FAILED if incomplete else ALL_DONE

    # Training

    def _stepped(self, event: Any) -> None:
        if self._steps:
            self._steps.step(event)

    def _validated(self, event: Any) -> None:
        if self._steps:
            self._steps.validated(event)
        scores = "  ".join(f"{name} {value:.4f}" for name, value in event.scores.items())
        self._line(f"step {event.step}: validation: {scores}{'  (best)' if event.best else ''}")

    def _sampled(self, event: Any) -> None:
        self._show(event.path, sheet=event)

    def _saved(self, event: Any) -> None:
        self._line(f"step {event.step}: saved")

    def _trained(self, event: Any) -> None:
        self._close()
        self._fact("Stopped" if event.stopped else "Done", f"{event.step} of {event.total} steps in {event.run}")
        if event.next_command:
            self._fact("Next", event.next_command)
        if event.reason == "hours":
            self._fact("Longer", event.resume_command)
        self._result(event.output)
        self._code = INTERRUPTED if event.stopped else self._code

    def _name_differing(self) -> None:
        for text in self._differing[:MOST_NAMED]:
            self._fact("Differs", text)
        if self._differing:
            more = len(self._differing) - MOST_NAMED
            and_more = f"and {more} more; " if more > 0 else ""
            self._fact("", f"{and_more}kept although made with other settings; pass --overwrite to replace them")
