"""Translate pictures with a bridge: what to do, then batch by batch, reading ahead and writing behind.

Each output carries the settings that it was made with. A finished one is kept when the command is given again, so an
interrupted folder goes on where it stopped; one made with other settings is kept too, and said, until `overwrite`.
"""

import hashlib
import itertools
import json
import os
import re
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import pydantic
import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli import __version__
from ddbm_cli.errors import DdbmError, ImageError, UsageError
from ddbm_cli.imaging.files import STANDARD, Job, Jobs, plan_jobs
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
from ddbm_cli.models import DDIB, TranslationModel, loading
from ddbm_cli.registry import read_registry
from ddbm_cli.registry.locate import Locating
from ddbm_cli.samplers import Evaluation, Noised, NoiseSource, Plan
from ddbm_cli.settings import settings, spell
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Event, Failed, Finished, Intended, Kept, Planned, Written

TEXT_KEY = "ddbm"
"""Where an output's settings stand in its file, as JSON."""

BATCH_SIZES = {"cuda": 32}
BATCH_SIZE = 8
BATCH_SIDE = 128
"""Batches that are used for pictures up to this side; of larger ones there are fewer, of the same number of pixels."""

WORKERS = max(2, min(8, os.cpu_count() or 2))
"""Threads that read, and as many that write."""


@settings
class TranslateRequest:
    """What to translate, and how; None leaves a choice to the model's card, or for `batch_size` to the device.

    source: a file, a folder, a pattern, or "-"; output: a file, a folder, or "-".
    method: "bridge", or "sdedit": a prior takes the picture as a guide, from a noise level on that `strength` says,
        `repeats` times. guide: what is made of the picture before. mask: where it may change; see `imaging.guides`.
        "ddib": `source_model`, a prior of sources, leads the picture to its noise, and the model makes one of that.
    prompt, guidance_scale: what the pictures show, and how much that is exaggerated, for models that take a text.
    shard: (i, n) to do every n-th picture from the i-th on, as one of n processes.
    """

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
    method: Literal["bridge", "sdedit", "ddib"] = "bridge"
    source_model: str | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    prompt: str = ""
    guidance_scale: Annotated[float, Field(ge=0)] = 7.5
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    guide: str | None = None
    mask: Path | None = None
    shard: tuple[int, int] = (0, 1)


def request(**given: Any) -> TranslateRequest:
    """Return the request for what is given.

    Raises:
        UsageError: a value is out of its range.
    """
    try:
        return TranslateRequest(**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {first['msg']}", hint="see: ddbm translate --help") from None


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


def run(
    request: TranslateRequest,
    *,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    model: TranslationModel | None = None,
) -> Iterator[Event]:
    """Translate a file, a folder or a pattern; yields what happens. A bad picture costs only itself.

    Args:
        request: what to do.
        stdin, stdout: the streams that "-" stands for.
        model: the request's model, if it is loaded already.

    Raises:
        UsageError: an option cannot be used, there is nothing to do, or the output folder cannot be written.
        ModelError: the model cannot be had.
    """
    check_budget(request)
    _check_method(request)
    jobs = _plan_jobs(request)
    see_that_it_can_be_written(jobs, make=False)
    piped = stdin.read() if stdin and request.source == STANDARD else b""
    if model is None:
        model = yield from load(request, request.model if request.method == "bridge" else the_prior(request.model))
        if request.method == "ddib":
            model = DDIB((yield from load(request, request.source_model)), model)
    plan = plan_of(request, model)
    if request.output is None:
        jobs = _plan_jobs(request, suffix=re.sub(r"[^\w.-]+", "-", model.name))
    tally = Tally()
    work = Work(request, model, plan, tally, piped, stdout)
    kept, todo = work.sort(jobs.share(request.shard))
    tally.kept = len(kept)
    yield Planned(total=len(kept) + len(todo), kept=tally.kept, facts=facts(work, jobs))
    yield from kept
    if request.dry_run:
        yield from (Intended(source=job.source, output=job.output) for job in todo)
        return
    if todo:
        see_that_it_can_be_written(jobs, make=True)
        yield from work.run(todo)
    yield tally.finished(_where(jobs))


def sweep(asked: TranslateRequest, strengths: Sequence[float]) -> Iterator[Event]:
    """Translate at each strength in turn; the outputs of each go to a folder of their own, such as OUTPUT/strength-0_6.

    Raises:
        UsageError: as `run`; or the output is no folder.
    """
    output = asked.output
    if output is None or _is_pipe(output) or format_of(output) or output.is_file():
        raise UsageError("several strengths make several pictures of each", hint="name a folder for the output")
    given = {field.name: getattr(asked, field.name) for field in fields(asked)}
    folders = [output / f"strength-{strength:g}".replace(".", "_") for strength in strengths]  # a dot begins a suffix
    each = [
        request(**given | {"strength": strength, "output": folder})
        for strength, folder in zip(strengths, folders, strict=True)
    ]
    for one in each:
        yield from run(one)


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
        self.nfe = plan.nfe  # counted anew whenever it is asked for
        own = model.card.preprocess
        self.preprocess: Preprocess = own if request.fit is None else replace(own, fit=request.fit)
        self._edit = Edit(request.guide, request.mask)
        self.batch_size = request.batch_size or _auto_batch_size(model)
        self._tally = tally
        self._piped = piped
        self._stdout = stdout

    def sort(self, jobs: Sequence[Job]) -> tuple[list[Kept], list[Job]]:
        """Part the finished from those still to do."""
        kept: list[Kept] = []
        todo: list[Job] = []
        for job in jobs:
            if self.request.overwrite or _is_pipe(job.output) or not job.output.exists():
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
        piped = _is_pipe(job.source)
        body, name = (self._piped, "standard input") if piped else (read_file(job.source), str(job.source))
        tensor, placement = self.preprocess.forward(open_picture(body, name=name))
        tensor = self._edit.guide(tensor, job.name, self.preprocess, placement)
        mask = self._edit.mask(job.name, self.preprocess, placement)
        return Loaded(job, tensor, placement, hashlib.sha256(body).hexdigest(), mask)

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
        return self.nfe

    def _calls(self, batch: list[Loaded]) -> Generator[Evaluation, None, Tensor]:
        """Make each network call for a batch, and return its results."""
        source = torch.stack([loaded.tensor for loaded in batch])
        noise = NoiseSource(self.request.seed, [stream_name(loaded.job) for loaded in batch])
        masks = [loaded.mask for loaded in batch if loaded.mask is not None]
        return self.model.translate(source, noise, self.plan, mask=torch.stack(masks) if masks else None)

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
        if _is_pipe(job.output):
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
            "nfe": self.nfe,
            "seed": self.request.seed,
            "dtype": _word(self.model.dtype),
            "fit": self.preprocess.fit,
            "keep_size": self.request.keep_size,
        }
        if self.request.prompt:
            settings |= {"prompt": self.request.prompt, "guidance_scale": self.request.guidance_scale}
        return settings | ({"quality": self.request.quality} if format in LOSSY else {})

    def _own(self, job: Job) -> dict[str, Any]:
        """Return what else decides an output, and is its own."""
        return self._edit.describe(job.name)

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
            if found.get(name) != value:
                return f"another {name.replace('_', ' ').replace('sha256', 'file')}"
        return self._another_source(job, found)

    def _another_source(self, job: Job, found: dict[str, Any]) -> str:
        if not _is_pipe(job.source):
            try:
                if found.get("source_sha256") != hashlib.sha256(read_file(job.source)).hexdigest():
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


def check_budget(request: TranslateRequest) -> None:
    """See at once what would be found out only after a large model has been loaded."""
    for option, value, what in (("--nfe", request.nfe, "network evaluations"), ("--steps", request.steps, "steps")):
        if value is not None and value < 1:
            raise UsageError(f"{value} {what} make no picture", hint=f"give {option} 1 or more")
    if request.nfe is not None and request.steps is not None:
        raise UsageError("--steps and --nfe are two ways to say one thing", hint="give one of them")


def _check_method(request: TranslateRequest) -> None:
    if (request.method == "ddib") != (request.source_model is not None):
        raise UsageError(
            "--method ddib and --source-model belong together", hint="name the sources' prior, and the targets' with -m"
        )
    if request.method == "sdedit":
        Edit(request.guide, request.mask)  # whose faults are told before a large model is loaded
        return
    given = {"strength": request.strength, "repeats": request.repeats > 1, "guide": request.guide, "mask": request.mask}
    for option, value in given.items():
        if value not in (None, False):
            raise UsageError(f"--{option} is for --method sdedit", hint="add --method sdedit, or leave it out")


def plan_of(request: TranslateRequest, model: TranslationModel) -> Plan:
    """Return how a request is sampled by a model.

    Raises:
        UsageError: an unknown name, a value out of range, or a method that is not for this model.
    """
    return model.plan(request.sampler, request.grid, request.steps, request.nfe, start=_start(request, model))


def load(request: TranslateRequest, name: str | None) -> Locating[TranslationModel]:
    """Load a model as a request says, and yield what happens on the way.

    Raises:
        ModelError: it cannot be had.
        UsageError: no such device or dtype; or a text for a model that takes none.
    """
    told = {"prompt": request.prompt, "guidance_scale": request.guidance_scale}
    return (yield from loading(name, device=request.device, dtype=request.dtype, fetch=not request.dry_run, **told))


def _start(request: TranslateRequest, model: TranslationModel) -> Mapping[str, Any] | None:
    """Return how to leave the source, None for the model's own way; see that model and method fit."""
    if request.method == "sdedit":
        if not model.is_prior:
            raise UsageError(f"model '{model.name}' is a bridge, and SDEdit needs a prior", hint="name a prior with -m")
        if not model.denoiser.path.source_free:
            raise UsageError(
                f"model '{model.name}' is a bridge from noise, and SDEdit needs a path without a source",
                hint="name a prior on ve, vp or cosine with -m",
            )
        strength = {} if request.strength is None else {"strength": request.strength}
        return {"name": "noised", "repeats": request.repeats, **strength}
    if model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a prior: it makes pictures from noise, and knows no source",
            hint="use it with --method sdedit --strength 0.6, or make pictures: ddbm sample",
        )
    return None


def the_prior(name: str | None) -> str:
    """Return the model that is named, or the built-in prior.

    Raises:
        UsageError: none is named, and none built in.
    """
    priors = [entry.name for entry in read_registry().values() if entry.builtin and entry.task.startswith("->")]
    if name is None and not priors:
        raise UsageError("no prior is named", hint="name one with -m; make one with: ddbm train PICTURES --task prior")
    return name or priors[0]


def _plan_jobs(request: TranslateRequest, suffix: str = "ddbm") -> Jobs:
    return plan_jobs(request.source, request.output, recursive=request.recursive, format=request.format, suffix=suffix)


def _auto_batch_size(model: TranslationModel) -> int:
    most = BATCH_SIZES.get(model.device.type, BATCH_SIZE)
    return max(1, min(most, most * BATCH_SIDE**2 // model.card.preprocess.size**2))


def _is_pipe(path: Path) -> bool:
    return str(path) == STANDARD


def stream_name(job: Job) -> str:
    """Return the name that seeds a picture's noise; a file name that is no text is spelled out."""
    return job.name.encode("utf-8", "backslashreplace").decode()


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "allocate memory" in text


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def facts(work: Work, jobs: Jobs) -> dict[str, str]:
    model, plan, size = work.model, work.plan, work.preprocess.size
    words = f"{model.card.task}, {size}x{size}, licence {model.card.licence}"
    ignored = f", {_count(jobs.ignored, 'other file')} ignored" if jobs.ignored else ""
    keeps = work.request.keep_size
    start = plan.start
    guided = f", strength {start.strength:g} = sigma {start.sigma(plan.path):.3g}" if isinstance(start, Noised) else ""
    return {
        "Model": f"{model.name} ({words}) on {model.device}, {_word(model.dtype)}",
        "Sampling": f"{spell(plan.sampler)}, grid {spell(plan.grid)}, {plan.steps} steps = {work.nfe} NFE,"
        f" seed {work.request.seed}{guided}",
        "Input": f"{_count(len(jobs.jobs), 'picture')}{ignored}",
        "Output": f"{_where(jobs)}, {'of the size of the input' if keeps else f'{size} pixels on the longer side'}",
    }


def _where(jobs: Jobs) -> Path:
    return jobs.folder if len(jobs.jobs) > 1 else jobs.jobs[0].output


def see_that_it_can_be_written(jobs: Jobs, *, make: bool) -> None:
    """See that outputs can be written to their folder, which is made, or only looked for."""
    folder = jobs.folder
    if _is_pipe(jobs.jobs[0].output):
        return
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".ddbm-{os.getpid()}.tmp"
            probe.touch()
            probe.unlink()
            return
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(0, f"{there} is a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(0, "no permission")
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror})", hint="choose another output, or change its permissions"
        ) from None
