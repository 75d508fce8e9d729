"""The loop over many images: batches go through the network while others are read and saved.

An output that exists is kept, so an interrupted folder resumes. Outputs that appear during the run are kept too:
two runs on one folder share the work, and neither replaces what the other has made.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import torch

from ddbm_cli.foundation.errors import DdbmError, ImageError
from ddbm_cli.imaging.files import Job
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Event, Failed, Finished, Kept, Noticed, Written
from ddbm_cli.tasks.existing import exists_already, free_name
from ddbm_cli.tasks.journal import Journal
from ddbm_cli.tasks.making import Loaded, Maker, Results, is_pipe
from ddbm_cli.tasks.notices import Notices
from ddbm_cli.tasks.reading import Reader
from ddbm_cli.tasks.records import Records
from ddbm_cli.tasks.saving import Saver
from ddbm_cli.tasks.trajectory import TrajectoryFiles

TOO_MANY = "correct the inputs and run the same command again, or raise --max-failures"

THREADS = max(2, min(8, os.cpu_count() or 2))
"""Threads that read, and as many that save."""


@dataclass
class Tally:
    """What became of the images so far."""

    written: int = 0
    kept: int = 0
    failed: int = 0
    began: float = field(default_factory=time.monotonic)

    def finished(self, output: Path | None) -> Finished:
        """Return the last event of a run, with the time since it began."""
        seconds = time.monotonic() - self.began
        return Finished(written=self.written, kept=self.kept, failed=self.failed, seconds=seconds, output=output)


class Work:
    """Makes the images of many jobs.

    Args:
        maker: makes the images of one batch.
        tally: counts what becomes of them.
        piped: the bytes of standard input. stdout: the stream that "-" stands for.
        folder: the folder that gets a manifest; None for none.
        trajectories: the files of trajectories; None for none.
        stop: asked before each input; images that are being made are completed.
    """

    def __init__(
        self,
        maker: Maker,
        tally: Tally,
        *,
        piped: bytes = b"",
        stdout: BinaryIO | None = None,
        folder: Path | None = None,
        trajectories: TrajectoryFiles | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._maker = maker
        self._request = maker.request
        self._records = Records(maker, self._request.format)
        self._trajectories = trajectories
        self._stop = stop
        overwrite = self._request.overwrite
        self._reader = Reader(maker, piped, overwrite=overwrite, incomplete=self._incomplete)
        self._batch_size = maker.batch_size
        self._notices = Notices()
        self._tally = tally
        self._stdout = stdout
        self._journal = Journal(folder, maker, self._records)

    def sort(self, jobs: Sequence[Job]) -> tuple[list[Kept | Failed], list[Job]]:
        """Separate the jobs whose outputs exist from those to do, which may get other outputs."""
        existing: list[Kept | Failed] = []
        todo: list[Job] = []
        taken = {job.output for job in jobs}
        for job in jobs:
            if self._request.overwrite or is_pipe(job.output) or not job.output.exists():
                todo.append(job)
                continue
            if self._request.rename:
                job, exists = free_name(job, self._difference, taken)
                if not exists:
                    todo.append(job)
                    continue
            if self._incomplete(job) and not self._difference(job):
                todo.append(job)
                continue
            existing.append(self._exists(job))
        return existing, todo

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Make the images of all jobs, in order; yields what happens."""
        with ThreadPoolExecutor(THREADS, "read") as readers, ThreadPoolExecutor(THREADS, "save") as savers:
            saver = Saver(
                self._maker,
                self._records,
                savers,
                stdout=self._stdout,
                quality=self._request.quality,
                overwrite=self._request.overwrite,
                trajectories=self._trajectories,
            )
            try:
                yield from self._journal.notes()
                batch: list[Loaded] = []
                for job, reading in self._reader.ahead(jobs, readers, most=2 * self._batch_size):
                    if self._tally.failed >= (self._request.max_failures or math.inf):
                        yield Noticed(message=f"stopped after {self._tally.failed} failures", hint=TOO_MANY)
                        batch = []
                        break
                    if self._stop():
                        batch = []
                        break
                    try:
                        loaded = reading.result()
                    except ImageError as error:
                        yield self._failed(job, error)
                        continue
                    if loaded is None:
                        yield self._exists(job)
                        continue
                    yield from self._notices.of(loaded)
                    batch.append(loaded)
                    if len(batch) >= self._batch_size:
                        yield from self._make(batch, saver)
                        batch = []
                        yield from self._saved(saver, leave=2 * self._batch_size)
                yield from self._make(batch, saver)
                yield from self._saved(saver, leave=0)
                yield from self._notices.rest()
            finally:
                # Results of the network are still saved; images that were only read are dropped.
                readers.shutdown(cancel_futures=True)
                for _ in self._saved(saver, leave=0):
                    pass
                self._journal.close()

    def _make(self, batch: list[Loaded], saver: Saver) -> Iterator[Event]:
        waiting = batch
        while waiting:
            batch, waiting = waiting[: self._batch_size], waiting[self._batch_size :]
            yield BatchStarted(images=len(batch), nfe=self._maker.nfe(batch))
            began = time.perf_counter()
            results = yield from self._sample(batch, saver)
            if results is None:
                waiting = batch + waiting
                self._shrink(len(batch))
                continue
            milliseconds = 1000 * (time.perf_counter() - began) / len(batch)
            for loaded, result in zip(batch, results, strict=True):
                saver.submit(loaded, result, milliseconds)

    def _sample(self, batch: list[Loaded], saver: Saver) -> Generator[Event, None, Results | None]:
        """Return the results of a batch, None if it did not fit into memory."""
        calls = self._maker.run(batch)
        try:
            for nfe in itertools.count(1):
                next(calls)
                yield Evaluated(nfe=nfe)
                yield from self._saved(saver)
        except StopIteration as stop:
            return cast(Results, stop.value)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        return None

    def _shrink(self, tried: int) -> None:
        """Halve the batch size; called when the memory of the failed batch is free again."""
        if tried == 1:
            raise DdbmError(
                f"out of memory with one image of {self._maker.preprocess.words} pixels on {self._maker.model.device}",
                hint="use --dtype bf16, another --device, or a smaller model",
            )
        torch.cuda.empty_cache()  # nothing happens where there is none
        self._batch_size = tried // 2

    def _saved(self, saver: Saver, *, leave: int | None = None) -> Iterator[Event]:
        """Report outputs that are complete; `leave` as of `Saver.finished`."""
        for job, saving in saver.finished(leave=leave):
            try:
                saved = saving.result()
            except ImageError as error:
                yield self._failed(job, error)
                continue
            if saved is None:
                yield self._exists(job)
                continue
            self._tally.written += 1
            self._journal.written(job, saved)
            yield Written(source=job.source, output=job.output, record=saved.record)
            yield from self._journal.notes()

    def _incomplete(self, job: Job) -> bool:
        """Return whether a file of an output's trajectory is missing."""
        return self._trajectories is not None and self._trajectories.missing(job)

    def _difference(self, job: Job) -> str:
        return self._records.difference(job, lambda: self._reader.read(job))

    def _exists(self, job: Job) -> Kept | Failed:
        """Return what an output that exists counts as."""
        if self._request.fail_existing:
            self._tally.failed += 1
            return exists_already(job)
        self._tally.kept += 1
        differs = self._difference(job)
        if not self._request.dry_run:
            self._journal.kept(job, differs)
        return Kept(source=job.source, output=job.output, differs=differs)

    def _failed(self, job: Job, error: ImageError) -> Failed:
        self._tally.failed += 1
        self._journal.failed(job, error)
        return Failed(source=job.source, message=error.message, hint=error.hint)


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "allocate memory" in text
