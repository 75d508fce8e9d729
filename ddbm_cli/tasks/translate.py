"""Translate pictures with a bridge, or with a prior as SDEdit and DDIB do: a file, a folder, a pattern, a pipe."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

from ddbm_cli.foundation.devices import torch_name
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import STANDARD, Jobs, plan_jobs
from ddbm_cli.imaging.io import format_of
from ddbm_cli.models import DDIB, TranslationModel
from ddbm_cli.tasks.events import Event, Intended, Planned
from ddbm_cli.tasks.request import (
    TranslateRequest,
    check_budget,
    check_method,
    in_words,
    load,
    plan_of,
    request,
    the_prior,
)
from ddbm_cli.tasks.work import Tally, Work, is_pipe

__all__ = ["TranslateRequest", "facts", "request", "run", "see_that_it_can_be_written", "sweep"]


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
    check_method(request)
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
    if output is None or is_pipe(output) or format_of(output) or output.is_file():
        raise UsageError("several strengths make several pictures of each", hint="name a folder for the output")
    given = {field.name: getattr(asked, field.name) for field in fields(asked)}
    folders = [output / f"strength-{strength:g}".replace(".", "_") for strength in strengths]  # a dot begins a suffix
    each = [
        request(**given | {"strength": strength, "output": folder})
        for strength, folder in zip(strengths, folders, strict=True)
    ]
    for one in each:
        yield from run(one)


def _plan_jobs(request: TranslateRequest, suffix: str = "ddbm") -> Jobs:
    return plan_jobs(request.source, request.output, recursive=request.recursive, format=request.format, suffix=suffix)


def facts(work: Work, jobs: Jobs) -> dict[str, str]:
    model, plan, size = work.model, work.plan, work.preprocess.size
    words = f"{model.card.task}, {size}x{size}, licence {model.card.licence}"
    ignored = f", {_count(jobs.ignored, 'other file')} ignored" if jobs.ignored else ""
    keeps = work.request.keep_size
    return {
        "Model": f"{model.name} ({words}) on {model.device}, {torch_name(model.dtype)}",
        "Sampling": f"{in_words(plan)}, seed {work.request.seed}",
        "Input": f"{_count(len(jobs.jobs), 'picture')}{ignored}",
        "Output": f"{_where(jobs)}, {'of the size of the input' if keeps else f'{size} pixels on the longer side'}",
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _where(jobs: Jobs) -> Path:
    return jobs.folder if len(jobs.jobs) > 1 else jobs.jobs[0].output


def see_that_it_can_be_written(jobs: Jobs, *, make: bool) -> None:
    """See that outputs can be written to their folder, which is made, or only looked for."""
    folder = jobs.folder
    if is_pipe(jobs.jobs[0].output):
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
