"""Translate pictures with a bridge: what to do, then batch by batch, reading ahead and writing behind.

Each output carries the settings that it was made with. A finished one is kept when the command is given again, so an
interrupted folder goes on where it stopped; one made with other settings is kept too, and said, until `overwrite`.
"""

import json
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli import __version__
from ddbm_cli.errors import DdbmError, ImageError, UsageError
from ddbm_cli.imaging.files import Job, Jobs, plan_jobs
from ddbm_cli.imaging.io import encode_picture, format_of, open_picture, read_text, write_atomically
from ddbm_cli.imaging.preprocess import Placement, Preprocess
from ddbm_cli.models import TranslationModel, load_model
from ddbm_cli.samplers import NoiseSource, Plan
from ddbm_cli.settings import settings, spell
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Event, Failed, Finished, Kept, Planned, Written

BATCH_SIZES = {"cpu": 8, "mps": 8, "cuda": 32}
TEXT_KEY = "ddbm"
"""Where an output's settings stand in its file, as JSON."""


@settings
class TranslateRequest:
    """What to translate, and how; None leaves a choice to the model's card."""

    source: str
    output: Path | None = None
    model: str | None = None
    sampler: str | None = None
    grid: str | None = None
    steps: int | None = None
    nfe: int | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    device: str = "auto"
    dtype: str = "auto"
    recursive: bool = False
    format: str | None = None
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    keep_size: bool = False
    fit: Literal["pad", "crop", "stretch"] | None = None
    overwrite: bool = False
    dry_run: bool = False


@dataclass
class _Tally:
    """What became of the pictures so far."""

    written: int = 0
    kept: int = 0
    failed: int = 0
    began: float = field(default_factory=time.monotonic)

    def finished(self, output: Path | None) -> Finished:
        seconds = time.monotonic() - self.began
        return Finished(
            written=self.written, kept=self.kept, failed=self.failed, seconds=seconds, output=output
        )


def run(request: TranslateRequest) -> Iterator[Event]:
    """Translate a file, a folder or a pattern; yields what happens. A bad picture costs only itself.

    Raises:
        UsageError: an option cannot be used, there is nothing to do, or the output folder cannot be written.
        ModelError: the model cannot be had.
    """
    jobs = plan_jobs(
        request.source, request.output, recursive=request.recursive, format=request.format, suffix="ddbm"
    )
    model = load_model(request.model, device=request.device, dtype=request.dtype)
    plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
    made_by = _made_by(request, model, plan)
    tally = _Tally()
    open_jobs: list[Job] = []
    kept: list[Kept] = []
    for job in jobs.jobs:
        if request.overwrite or not job.output.exists():
            open_jobs.append(job)
        else:
            same = read_text(job.output).get(TEXT_KEY) == json.dumps(made_by | {"name": job.name})
            kept.append(Kept(source=job.source, output=job.output, differs=not same))
    tally.kept = len(kept)
    facts = _facts(model, plan, jobs, request)
    yield Planned(total=len(jobs.jobs), kept=tally.kept, facts=facts)
    yield from kept
    if request.dry_run:
        for job in open_jobs:
            yield Written(source=job.source, output=job.output, record={"status": "planned"})
        return
    if open_jobs:
        _see_that_it_can_be_written(jobs.folder)
        yield from _Pipeline(request, model, plan, made_by, tally).run(open_jobs)
    yield tally.finished(jobs.folder)


def translate_stream(request: TranslateRequest, stream: BinaryIO, write: BinaryIO) -> Iterator[Event]:
    """Translate one picture from a stream to a stream, such as standard input and output.

    Raises:
        ImageError, ModelError, UsageError: as `run`, but for the one picture.
    """
    tally = _Tally()
    image = open_picture(stream, name="standard input")
    model = load_model(request.model, device=request.device, dtype=request.dtype)
    plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
    yield Planned(total=1, facts=_plan_facts(model, plan, request))
    tensor, placement = _preprocess(request, model).forward(image)
    result = yield from _sample(model, plan, tensor[None], ["-"], request.seed)
    picture = _preprocess(request, model).inverse(result[0], placement, keep_size=request.keep_size)
    text = {TEXT_KEY: json.dumps(_made_by(request, model, plan) | {"name": "-"})}
    write.write(encode_picture(picture, request.format or "png", quality=request.quality, text=text))
    write.flush()
    tally.written = 1
    yield tally.finished(None)


@dataclass(frozen=True)
class _Loaded:
    """A picture that has been read, ready for the network."""

    job: Job
    tensor: Tensor
    placement: Placement


class _Pipeline:
    """Reads ahead and writes behind the network, with a bounded number of pictures in memory."""

    def __init__(
        self, request: TranslateRequest, model: TranslationModel, plan: Plan, made_by: dict[str, Any], tally: _Tally
    ) -> None:
        self._request = request
        self._model = model
        self._plan = plan
        self._made_by = made_by
        self._tally = tally
        self._preprocess = _preprocess(request, model)
        self._batch_size = request.batch_size or BATCH_SIZES.get(model.device.type, 8)

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Translate all jobs in their order."""
        saving: deque[tuple[Job, Future[None]]] = deque()
        with ThreadPoolExecutor(2, "read") as readers, ThreadPoolExecutor(2, "write") as writers:
            try:
                batch: list[_Loaded] = []
                for job, reading in self._read_ahead(jobs, readers):
                    try:
                        batch.append(reading.result())
                    except ImageError as error:
                        yield self._failed(job, error)
                    if len(batch) == self._batch_size:
                        yield from self._translate(batch, writers, saving)
                        batch = []
                        yield from self._written(saving, leave=2 * self._batch_size)
                if batch:
                    yield from self._translate(batch, writers, saving)
                yield from self._written(saving, leave=0)
            finally:
                readers.shutdown(cancel_futures=True)

    def _read_ahead(
        self, jobs: Sequence[Job], readers: ThreadPoolExecutor
    ) -> Iterator[tuple[Job, "Future[_Loaded]"]]:
        ahead: deque[tuple[Job, Future[_Loaded]]] = deque()
        for job in jobs:
            ahead.append((job, readers.submit(self._load, job)))
            if len(ahead) > 2 * self._batch_size:
                yield ahead.popleft()
        yield from ahead

    def _load(self, job: Job) -> _Loaded:
        tensor, placement = self._preprocess.forward(open_picture(job.source))
        return _Loaded(job, tensor, placement)

    def _translate(
        self, batch: list[_Loaded], writers: ThreadPoolExecutor, saving: deque[tuple[Job, "Future[None]"]]
    ) -> Iterator[Event]:
        yield BatchStarted(images=len(batch), nfe=self._plan.nfe)
        try:
            results = yield from self._sample(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise DdbmError("one picture alone does not fit into memory", hint="use --device cpu") from None
            torch.cuda.empty_cache()
            self._batch_size = max(1, len(batch) // 2)
            for first in range(0, len(batch), self._batch_size):
                yield from self._translate(batch[first : first + self._batch_size], writers, saving)
            return
        for loaded, result in zip(batch, results, strict=True):
            saving.append((loaded.job, writers.submit(self._save, loaded, result)))

    def _sample(self, batch: list[_Loaded]) -> Generator[Event, None, Tensor]:
        source = torch.stack([loaded.tensor for loaded in batch])
        names = [loaded.job.name for loaded in batch]
        return (yield from _sample(self._model, self._plan, source, names, self._request.seed))

    def _save(self, loaded: _Loaded, result: Tensor) -> None:
        job, request = loaded.job, self._request
        picture = self._preprocess.inverse(result, loaded.placement, keep_size=request.keep_size)
        text = {TEXT_KEY: json.dumps(self._made_by | {"name": job.name})}
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{job.output.parent}: cannot be made ({error.strerror})", hint="check the path") from None
        format = format_of(job.output) or "png"
        write_atomically(job.output, encode_picture(picture, format, quality=request.quality, text=text))

    def _written(self, saving: deque[tuple[Job, "Future[None]"]], *, leave: int) -> Iterator[Event]:
        """Tell of pictures that are on disk; wait until at most `leave` are not."""
        while saving and (len(saving) > leave or saving[0][1].done()):
            job, future = saving.popleft()
            try:
                future.result()
            except ImageError as error:
                yield self._failed(job, error)
                continue
            self._tally.written += 1
            record = {"name": job.name, "seed": self._request.seed, "nfe": self._plan.nfe}
            yield Written(source=job.source, output=job.output, record=record)

    def _failed(self, job: Job, error: ImageError) -> Failed:
        self._tally.failed += 1
        return Failed(source=job.source, message=error.message, hint=error.hint)


def _sample(
    model: TranslationModel, plan: Plan, source: Tensor, names: Sequence[str], seed: int
) -> Generator[Event, None, Tensor]:
    steps = model.translate(source, NoiseSource(seed, names), plan)
    try:
        while True:
            yield Evaluated(nfe=next(steps).nfe)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def _preprocess(request: TranslateRequest, model: TranslationModel) -> Preprocess:
    own = model.card.preprocess
    return own if request.fit is None else replace(own, fit=request.fit)


def _made_by(request: TranslateRequest, model: TranslationModel, plan: Plan) -> dict[str, Any]:
    """Return all that decides the pixels of an output, but its own name."""
    return {
        "model": model.name,
        "sha256": model.digest,
        **plan.describe(),
        "nfe": plan.nfe,
        "seed": request.seed,
        "dtype": str(model.dtype).removeprefix("torch."),
        "keep_size": request.keep_size,
        "fit": request.fit,
        "version": __version__,
    }


def _plan_facts(model: TranslationModel, plan: Plan, request: TranslateRequest) -> dict[str, str]:
    size, dtype = model.card.preprocess.size, str(model.dtype).removeprefix("torch.")
    words = f"{model.card.task}, {size}x{size}, licence {model.card.licence}"
    return {
        "Model": f"{model.name} ({words}) on {model.device}, {dtype}",
        "Sampling": f"{spell(plan.sampler)}, grid {spell(plan.grid)}, {plan.steps} steps = {plan.nfe} NFE, seed {request.seed}",
    }


def _facts(model: TranslationModel, plan: Plan, jobs: Jobs, request: TranslateRequest) -> dict[str, str]:
    ignored = f" ({jobs.ignored} other files ignored)" if jobs.ignored else ""
    return _plan_facts(model, plan, request) | {"Input": f"{len(jobs.jobs)} pictures{ignored}", "Output": str(jobs.folder)}


def _see_that_it_can_be_written(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".ddbm-{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror})", hint="choose another output, or change its permissions"
        ) from None
