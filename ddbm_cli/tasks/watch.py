"""Translating what arrives in a folder, for --watch.

The folder is listed again when the system reports a change, and every few seconds, because network drives report
none. An image is translated when its file is complete: unchanged for a moment, and readable. A file that changes
later is looked at again.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Flag
from typing import NamedTuple

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.files import Job, Jobs
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.prompts import FORMS, Prompts
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import Plan
from ddbm_cli.tasks.events import Arrived, Event, Failed, Noticed, Planned
from ddbm_cli.tasks.making import Maker
from ddbm_cli.tasks.overview import by_source, gather, maps_of
from ddbm_cli.tasks.request import TranslateRequest
from ddbm_cli.tasks.trajectory import trajectory_files
from ddbm_cli.tasks.translate import check, check_bits, check_writable, facts, plan_jobs_of, ready
from ddbm_cli.tasks.work import Tally, Work

LOOK = 0.25
"""Seconds between two looks at the flags, and at files that are not complete."""

IDLE = 5.0
"""Seconds after which the folder is listed although no change was reported."""

SETTLED = 0.5
"""Seconds without a change after which a file may be complete."""

PATIENCE = 10.0
"""Seconds without a change after which a file that cannot be read is reported."""

OLD = 2.0
"""Age in seconds of files that are complete at the first look."""


CHANGES = frozenset({"created", "modified", "moved", "closed", "deleted"})
"""Reports after which the folder is listed; reading a file is reported too, and changes nothing."""


class Mark(NamedTuple):
    """What of a file changes when it is written."""

    inode: int
    size: int
    modified: int


@dataclass
class _Growing:
    mark: Mark
    since: float
    damaged: bool = False


class Arrivals:
    """Tells new and changed files that are complete from those that are still being written."""

    def __init__(self) -> None:
        self._done: dict[Path, Mark] = {}
        self._growing: dict[Path, _Growing] = {}

    @property
    def waits(self) -> bool:
        """Whether there are files that are not complete."""
        return bool(self._growing)

    def complete(self, sources: set[Path]) -> set[Path]:
        """Return the files that are new or changed, and complete; each is returned once."""
        self._growing = {path: state for path, state in self._growing.items() if path in sources}
        return {path for path in sources if self._is_complete(path)}

    def _is_complete(self, path: Path) -> bool:
        try:
            facts = path.stat()
        except OSError:
            return False  # it is gone
        mark, now = Mark(facts.st_ino, facts.st_size, facts.st_mtime_ns), time.monotonic()
        if self._done.get(path) == mark:
            return False
        state = self._growing.get(path)
        if state is None or state.mark != mark:
            old = state is None and path not in self._done and abs(time.time() - facts.st_mtime) > OLD
            if not old or not mark.size:
                self._growing[path] = _Growing(mark, now)
                return False
            return self._take(path, mark)
        waited = now - state.since
        if waited < SETTLED or (state.damaged and waited < PATIENCE):
            return False
        if waited < PATIENCE and not _is_readable(path):
            state.damaged = True
            return False
        return self._take(path, mark)

    def _take(self, path: Path, mark: Mark) -> bool:
        self._done[path] = mark
        self._growing.pop(path, None)
        return True


def watch(
    request: TranslateRequest, *, stop: Callable[[], bool], model: TranslationModel | None = None
) -> Iterator[Event]:
    """Translate the images of a folder, and those that arrive, until `stop`; yields what happens.

    Args:
        request: what to do; its input is a folder.
        stop: asked a few times per second, and between batches.
        model: the model of the request, if it is loaded already.

    Raises:
        UsageError: an option cannot be used, or the input cannot be opened.
        ModelError: the model is not available.
    """
    root = Path(request.source)
    check(request)
    method, model, plan = yield from ready(request, model)
    prompts = Prompts(request.prompt, request.prompts)
    if prompts.in_order:
        raise UsageError("--watch needs the names of the images with their prompts", hint=FORMS)
    maker, tally, arrivals = Maker(request, method, model, plan, prompts=prompts), Tally(), Arrivals()
    plan_now = _Planner(request, model, plan)
    jobs = plan_now()
    check_writable(jobs, create=False)
    yield Planned(total=0, facts=facts(maker, jobs) | {"Watch": f"{root}, until Ctrl-C"})
    yield from (Noticed(message=text) for text in maker.doubts())
    changed, gone, listed = Flag(), False, 0.0
    with _reports(root, changed, recursive=request.recursive):
        while not stop() and tally.failed < (request.max_failures or math.inf):
            if changed.is_set() or arrivals.waits or time.monotonic() - listed > IDLE:
                changed.clear()
                listed = time.monotonic()
                found = _listed(root, plan_now)
                if found is None and not gone:
                    yield Noticed(message=f"{root}: no such folder any more", hint="create it again, or press Ctrl-C")
                gone, jobs = found is None, jobs if found is None else found
                complete = arrivals.complete(set() if gone else {job.source for job in jobs.jobs})
                new = [job for job in jobs.jobs if job.source in complete and _is_mine(job, request.shard)]
                if new:
                    yield from _translate(maker, tally, replace(jobs, jobs=new), jobs, stop)
                    continue
            changed.wait(LOOK)
    yield tally.finished(jobs.folder)


def _listed(root: Path, plan: Callable[[], Jobs]) -> Jobs | None:
    """Return the jobs of a folder; None if there is no such folder, also if it is deleted while it is read.

    Raises:
        UsageError: there is, and it cannot be opened.
    """
    if not root.is_dir():
        return None
    try:
        return plan()
    except UsageError:
        return plan() if root.is_dir() else None


class _Planner:
    """Lists the folder again and again; an input keeps the output that it got first."""

    def __init__(self, request: TranslateRequest, model: TranslationModel, plan: Plan) -> None:
        self._request, self._model, self._plan = request, model, plan
        self._outputs: dict[tuple[str, int], Path] = {}
        self._taken: set[str] = set()

    def __call__(self) -> Jobs:
        jobs = plan_jobs_of(self._request, self._model, self._plan, may_be_empty=True)
        return replace(jobs, jobs=[self._named(job) for job in jobs.jobs])

    def _named(self, job: Job) -> Job:
        key = job.name, job.draw
        if key not in self._outputs:
            output, number = job.output, 1
            while str(output).casefold() in self._taken:
                more = "" if number == 1 else f".{number}"
                output = job.output.with_name(f"{job.output.stem}{job.source.suffix}{more}{job.output.suffix}")
                number += 1
            self._outputs[key] = output
            self._taken.add(str(output).casefold())
        return replace(job, output=self._outputs[key])


def _translate(maker: Maker, tally: Tally, jobs: Jobs, every: Jobs, stop: Callable[[], bool]) -> Iterator[Event]:
    """Translate images that are complete; those that are deleted meanwhile are no failures."""
    request = maker.request
    folder = jobs.folder if request.manifest else None
    work = Work(maker, tally, folder=folder, trajectories=trajectory_files(request, every), stop=stop)
    check_bits(request, jobs)
    existing, todo = work.sort(jobs.jobs)
    yield Arrived(images=len(jobs.jobs))
    yield from existing
    if not todo:
        return
    check_writable(jobs, create=True)
    for event in work.run(todo):
        if isinstance(event, Failed) and not event.source.exists():
            tally.failed -= 1
            yield Noticed(message=f"{event.source}: deleted before it was translated")
            continue
        yield event
        if isinstance(event, Failed):  # failures are listed at the end, which may be hours away
            yield Noticed(message=event.message, hint=event.hint)
    if request.spread:
        groups = by_source(jobs.jobs)
        gather(groups, maker.preprocess, maps=maps_of(groups, [job.output for job in every.jobs]))


def _is_mine(job: Job, shard: tuple[int, int]) -> bool:
    """Return whether a process of several does a job; the folder changes, so the name decides."""
    return int(sha256(job.name.encode("utf-8", "surrogateescape")), 16) % shard[1] == shard[0]


def _is_readable(path: Path) -> bool:
    try:
        open_picture(path)
    except ImageError:
        return False
    return True


@contextlib.contextmanager
def _reports(root: Path, changed: Flag, *, recursive: bool) -> Iterator[None]:
    """Set a flag whenever the system reports a change in a folder; where it cannot, the folder is only listed."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in CHANGES:
                changed.set()

    observer = Observer()
    started = False
    with contextlib.suppress(OSError):  # such as no inotify watches left
        observer.schedule(Handler(), str(root), recursive=recursive)
        observer.start()
        started = True
    try:
        yield
    finally:
        if started:
            observer.stop()
            observer.join()
