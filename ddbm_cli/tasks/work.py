"""The work on many pictures: read ahead of the network, write behind it, keep what is finished.

Each output carries the settings that it was made with. A finished one is kept when the command is given again, so an
interrupted folder goes on where it stopped; one made with other settings is kept too, and said, until `overwrite`.
"""

import itertools
import json
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ddbm_cli import __version__
from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.devices import torch_name
from ddbm_cli.foundation.errors import DdbmError, ImageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.renamed import current
from ddbm_cli.imaging.files import STANDARD, Job
from ddbm_cli.imaging.guides import Edit
from ddbm_cli.imaging.io import (
    LOSSY,
    encode_picture,
    format_of,
    open_picture,
    read_file,
    read_text,
    write_atomically,
)
from ddbm_cli.imaging.preprocess import Placement, Preprocess
from ddbm_cli.models import DDIB, TranslationModel
from ddbm_cli.samplers import Evaluation, NoiseSource, Plan
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Event, Failed, Finished, Kept, Written
from ddbm_cli.tasks.request import TranslateRequest, class_of, guidance_of, text_scale

TEXT_KEY = "ddbm"
"""Where an output's settings stand in its file, as JSON."""

BATCH_SIZES = {"cuda": 32}
BATCH_SIZE = 8
BATCH_SIDE = 128
"""Batches that are used for pictures up to this side; of larger ones there are fewer, of the same number of pixels."""

WORKERS = max(2, min(8, os.cpu_count() or 2))
"""Threads that read, and as many that write."""


@dataclass
class Tally:
    """What became of the pictures so far."""

    written: int = 0
    kept: int = 0
    failed: int = 0
    began: float = field(default_factory=time.monotonic)

    def finished(self, output: Path | None) -> Finished:
        seconds = time.monotonic() - self.began
        return Finished(written=self.written, kept=self.kept, failed=self.failed, seconds=seconds, output=output)


@dataclass(frozen=True)
class Loaded:
    """A picture that has been read, ready for the network; `digest` is the sha256 of its file."""

    job: Job
    tensor: Tensor
    placement: Placement
    digest: str
    mask: Tensor | None = None


_Reading = Future[Loaded]
_Saving = Future[dict[str, Any]]


class Work:
    """Reads ahead of the network and writes behind it, with a bounded number of pictures in memory."""

    def __init__(
        self,
        request: TranslateRequest,
        model: TranslationModel,
        plan: Plan,
        tally: Tally,
        piped: bytes,
        stdout: BinaryIO | None,
    ) -> None:
        self.request = request
        self.model = model
        self.plan = plan
        own = model.card.preprocess
        self.preprocess: Preprocess = own if request.fit is None else replace(own, fit=request.fit)
        self._edit = Edit(request.guide, request.mask)
        self._guidance = guidance_of(request, model)
        self._class = class_of(request, model)
        self.batch_size = request.batch_size or _auto_batch_size(model)
        self._tally = tally
        self._piped = piped
        self._stdout = stdout

    def sort(self, jobs: Sequence[Job]) -> tuple[list[Kept], list[Job]]:
        """Part the finished from those still to do."""
        kept: list[Kept] = []
        todo: list[Job] = []
        for job in jobs:
            if self.request.overwrite or is_pipe(job.output) or not job.output.exists():
                todo.append(job)
            else:
                kept.append(Kept(source=job.source, output=job.output, differs=self._difference(job)))
        return kept, todo

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Translate all jobs in their order."""
        saving: deque[tuple[Job, _Saving]] = deque()
        with ThreadPoolExecutor(WORKERS, "read") as readers, ThreadPoolExecutor(WORKERS, "write") as writers:
            try:
                batch: list[Loaded] = []
                for job, reading in self._read_ahead(jobs, readers):
                    try:
                        batch.append(reading.result())
                    except ImageError as error:
                        yield self._failed(job, error)
                    if len(batch) >= self.batch_size:
                        yield from self._translate(batch, writers, saving)
                        batch = []
                        yield from self._written(saving, leave=2 * self.batch_size)
                yield from self._translate(batch, writers, saving)
                yield from self._written(saving, leave=0)
            finally:
                # What has gone through the network is still written; what was only read ahead is not awaited.
                readers.shutdown(cancel_futures=True)

    def _read_ahead(self, jobs: Sequence[Job], readers: ThreadPoolExecutor) -> Iterator[tuple[Job, _Reading]]:
        ahead: deque[tuple[Job, _Reading]] = deque()
        for job in jobs:
            ahead.append((job, readers.submit(self._load, job)))
            if len(ahead) > 2 * self.batch_size:
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()

    def _load(self, job: Job) -> Loaded:
        piped = is_pipe(job.source)
        body, name = (self._piped, "standard input") if piped else (read_file(job.source), str(job.source))
        tensor, placement = self.preprocess.forward(open_picture(body, name=name))
        tensor = self._edit.guide(tensor, job.name, self.preprocess, placement)
        mask = self._edit.mask(job.name, self.preprocess, placement)
        if mask is not None and self.model.card.inpainting:
            tensor = torch.where(mask > 0, 1.0, tensor)  # as it was trained: what stands in a hole is not looked at
        return Loaded(job, tensor, placement, sha256(body), mask)

    def _translate(
        self, batch: list[Loaded], writers: ThreadPoolExecutor, saving: deque[tuple[Job, _Saving]]
    ) -> Iterator[Event]:
        waiting = batch
        while waiting:
            batch, waiting = waiting[: self.batch_size], waiting[self.batch_size :]
            yield BatchStarted(images=len(batch), nfe=self._nfe_of(batch))
            results = yield from self._sample(batch, saving)
            if results is None:
                waiting = batch + waiting
                self._shrink(len(batch))
                continue
            for loaded, result in zip(batch, results, strict=True):
                saving.append((loaded.job, writers.submit(self._save, loaded, result)))

    def _sample(self, batch: list[Loaded], saving: deque[tuple[Job, _Saving]]) -> Generator[Event, None, Tensor | None]:
        """Return the translated batch, None if it did not fit into memory."""
        calls = self._calls(batch)
        try:
            for nfe in itertools.count(1):
                next(calls)
                yield Evaluated(nfe=nfe)
                yield from self._written(saving, leave=len(saving))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        return None

    def _nfe_of(self, batch: list[Loaded]) -> int:
        return self.plan.nfe

    def _calls(self, batch: list[Loaded]) -> Generator[Evaluation, None, Tensor]:
        """Make each network call for a batch, and return its results."""
        source = torch.stack([loaded.tensor for loaded in batch])
        noise = NoiseSource(self.request.seed, [stream_name(loaded.job) for loaded in batch])
        masks = [loaded.mask for loaded in batch if loaded.mask is not None]
        return self.told(batch).translate(source, noise, self.plan, mask=torch.stack(masks) if masks else None)

    def told(self, batch: list[Loaded]) -> TranslationModel:
        """Return the model, told what a batch is to show."""
        labels = [self.label(loaded.job) for loaded in batch]
        return self.model.told(torch.tensor(labels) if self.model.classes else None, self._guidance)

    def label(self, job: Job) -> int:
        """Return the number of a picture's class, -1 to tell none."""
        return NO_LABEL if self._class is None else self._class

    def _shrink(self, tried: int) -> None:
        """Halve the batches; called when the failed one's memory is free again."""
        if tried == 1:
            size = self.preprocess.size
            raise DdbmError(
                f"out of memory with one picture of {size}x{size} on {self.model.device}",
                hint="use --dtype bf16, another --device, or a smaller model",
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.batch_size = tried // 2

    def _save(self, loaded: Loaded, result: Tensor) -> dict[str, Any]:
        """Write a result, and return what is said of it."""
        job = loaded.job
        if not np.isfinite(result.numpy()).all():
            raise ImageError(f"{job.source}: the network's numbers ran out of range", hint="use --dtype fp32")
        format = self._format(job)
        record = {
            "tool": f"ddbm {__version__}",
            "source": stream_name(job).rpartition("/")[2],
            "source_sha256": loaded.digest,
            **self.made_by(format),
            **{name: value for name, value in self._own(job).items() if value is not None},
        }
        picture = self.preprocess.inverse(result, loaded.placement, keep_size=self.request.keep_size)
        text = {TEXT_KEY: json.dumps(record)}
        body = encode_picture(picture, format, quality=self.request.quality, text=text)
        if is_pipe(job.output):
            if self._stdout:
                self._stdout.write(body)
                self._stdout.flush()
            return record
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{job.output.parent}: cannot be made ({error.strerror})", hint="check the path") from None
        write_atomically(job.output, body)
        return record

    def made_by(self, format: str) -> dict[str, Any]:
        """Return all that decides an output, but its own picture and the version of this program."""
        settings = {
            "model": self.model.name,
            "model_sha256": self.model.digest,
            **self.plan.describe(),
            "nfe": self.plan.nfe,
            "seed": self.request.seed,
            "dtype": torch_name(self.model.dtype),
            "fit": self.preprocess.fit,
            "keep_size": self.request.keep_size,
        }
        if isinstance(self.model, DDIB):
            settings |= {"ddib": list(self.model.priors)}
        if self.request.prompt:
            settings |= {"prompt": self.request.prompt, "guidance_scale": text_scale(self.request)}
        if self.model.classes:
            settings |= {"guidance_scale": self._guidance.label}
        if self._guidance.image != 1:
            settings |= {"image_guidance_scale": self._guidance.image}
        return settings | ({"quality": self.request.quality} if format in LOSSY else {})

    def _own(self, job: Job) -> dict[str, Any]:
        """Return what else decides an output, and is its own."""
        told = {"class": self.model.class_of(self.label(job))} if self.model.classes else {}
        return self._edit.describe(job.name) | told

    def _difference(self, job: Job) -> str:
        """Return how a finished output was made otherwise than it would be now, "" for not at all."""
        try:
            found = json.loads(read_text(job.output)[TEXT_KEY])
            found["model_sha256"]
        except (KeyError, TypeError, json.JSONDecodeError):
            return "not made by this command"
        try:
            wanted = json.loads(json.dumps(self.made_by(self._format(job)) | self._own(job)))
        except ImageError:
            return "a file that belongs to it cannot be read"
        for name, value in wanted.items():
            if current(found.get(name)) != value:
                return f"another {name.replace('_', ' ').replace('sha256', 'file')}"
        return self._another_source(job, found)

    def _another_source(self, job: Job, found: dict[str, Any]) -> str:
        if not is_pipe(job.source):
            try:
                if found.get("source_sha256") != sha256(read_file(job.source)):
                    return "another source picture"
            except ImageError:
                return "its source cannot be read"
        return ""

    def _format(self, job: Job) -> str:
        return self.request.format or format_of(job.output) or "png"

    def _written(self, saving: deque[tuple[Job, _Saving]], *, leave: int) -> Iterator[Event]:
        """Tell of pictures that are on disk; wait until at most `leave` are not."""
        while saving and (len(saving) > leave or saving[0][1].done()):
            job, future = saving.popleft()
            try:
                record = future.result()
            except ImageError as error:
                yield self._failed(job, error)
                continue
            self._tally.written += 1
            yield Written(source=job.source, output=job.output, record=record)

    def _failed(self, job: Job, error: ImageError) -> Failed:
        self._tally.failed += 1
        return Failed(source=job.source, message=error.message, hint=error.hint)


def _auto_batch_size(model: TranslationModel) -> int:
    most = BATCH_SIZES.get(model.device.type, BATCH_SIZE)
    return max(1, min(most, most * BATCH_SIDE**2 // model.card.preprocess.size**2))


def is_pipe(path: Path) -> bool:
    return str(path) == STANDARD


def stream_name(job: Job) -> str:
    """Return the name that seeds a picture's noise; a file name that is no text is spelled out."""
    return job.name.encode("utf-8", "backslashreplace").decode()


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "allocate memory" in text
