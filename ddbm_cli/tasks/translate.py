"""Translate images: a file, a folder, a pattern, or standard input."""

import os
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ddbm_cli.foundation.devices import torch_name
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import remove_leftovers, temporary_name
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.files import STANDARD, Jobs, plan_jobs
from ddbm_cli.imaging.guides import Edit
from ddbm_cli.imaging.io import format_of
from ddbm_cli.imaging.naming import Naming
from ddbm_cli.imaging.prompts import Prompts
from ddbm_cli.imaging.selection import Selection
from ddbm_cli.methods import Method, method_of
from ddbm_cli.models import TranslationModel
from ddbm_cli.options.prepare import read_prepare
from ddbm_cli.registry.entries import alternatives
from ddbm_cli.registry.locate import Locating
from ddbm_cli.samplers import Plan
from ddbm_cli.tasks.events import Event, Failed, Intended, Noticed, Planned
from ddbm_cli.tasks.making import Maker, is_pipe, text_of
from ddbm_cli.tasks.manifest import Manifest
from ddbm_cli.tasks.overview import by_source, gather, maps_of
from ddbm_cli.tasks.preparing import Remembered
from ddbm_cli.tasks.reading import read_piped
from ddbm_cli.tasks.request import TranslateRequest, check_budget, check_graph, in_words, loader, request
from ddbm_cli.tasks.trajectory import check_replaceable, trajectory_files
from ddbm_cli.tasks.work import Tally, Work

__all__ = ["TranslateRequest", "check_noise_name", "check_writable", "facts", "request", "run"]


def run(
    request: TranslateRequest,
    *,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    model: TranslationModel | None = None,
    exclude: Sequence[Path] = (),
    remembered: Remembered | None = None,
) -> Iterator[Event]:
    """Translate a file, a folder or a pattern; yields what happens. An image that fails is reported and skipped.

    Args:
        request: what to do.
        stdin, stdout: the streams that "-" stands for.
        model: the model of the request, if it is loaded already.
        exclude: files and folders that are never inputs, next to the output.
        remembered: prepared inputs, where several runs share them.

    Raises:
        UsageError: an option cannot be used, there is nothing to do, or the output folder cannot be written.
        ModelError: the model is not available.
    """
    check(request)
    prompts = Prompts(request.prompt, request.prompts)
    jobs = plan_jobs_of(request, exclude=exclude)
    check_noise_name(request.noise_name, len(jobs.jobs))
    check_writable(jobs, create=False)
    check_bits(request, jobs)
    piped = read_piped(stdin) if stdin and request.source == STANDARD else b""
    method, model, plan = yield from ready(request, model)
    jobs = plan_jobs_of(request, model, plan, exclude=exclude)
    prompts.assign(jobs.jobs, beside=model.takes_text)
    tally = Tally()
    maker = Maker(request, method, model, plan, remembered, prompts)
    trajectories = trajectory_files(request, jobs)
    groups = by_source(jobs.jobs)
    maps = maps_of(groups, [job.output for job in jobs.jobs]) if request.spread else []
    shown = [*maps, *([request.sheet] if request.sheet else ())]
    extras = [*shown, *(trajectories.of_all(jobs.jobs) if trajectories else ())]
    check_replaceable(extras, overwrite=request.overwrite)
    listed = jobs.several and (request.manifest or request.retry)
    folder = jobs.folder if listed else None
    work = Work(maker, tally, piped=piped, stdout=stdout, folder=folder, trajectories=trajectories)
    share = jobs.share(request.shard)
    if request.retry:
        failed = Manifest(jobs.folder).failed()
        share = [job for job in share if text_of(job.name) in failed]
    existing, todo = work.sort(share)
    problems = jobs.problems if request.shard[0] == 0 else ()
    yield Planned(total=len(existing) + len(todo) + len(problems), kept=tally.kept, facts=facts(maker, jobs))
    yield from (Noticed(message=text) for text in maker.doubts())
    for problem in problems:
        tally.failed += 1
        yield Failed(source=problem.path, message=problem.message, hint=problem.hint)
    yield from existing
    if request.dry_run:
        yield from (Intended(source=job.source, output=job.output) for job in todo)
        return
    if todo:
        check_writable(jobs, create=True)
        yield from work.run(todo)
    if shown and (request.shard == (0, 1) or all(job.output.exists() for job in jobs.jobs)):
        gather(groups, maker.preprocess, maps=maps, sheet=request.sheet)
    yield tally.finished(_where(jobs))


def check(request: TranslateRequest) -> None:
    """Check that options go together, before a large model is loaded.

    Raises:
        UsageError: they do not.
    """
    check_budget(request)
    check_graph(request)
    method_of(request)
    read_prepare(request.prepare)
    Edit(request.guide, request.mask)
    if request.bits == "16" and request.mask is not None:
        raise UsageError("--bits 16 does not go with --mask", hint="remove one of them")
    if request.spread and request.number < 2:
        raise UsageError("--spread needs several draws", hint="pass -n 4 or more")


def check_bits(request: TranslateRequest, jobs: Jobs) -> None:
    """Check that all outputs can have the bits of a request.

    Raises:
        UsageError: they cannot.
    """
    formats = {request.format or format_of(job.output) or "png" for job in jobs.jobs}
    if request.bits == "16" and formats - {"png"}:
        raise UsageError(f"--bits 16 is for png, not {min(formats - {'png'})}", hint="add --format png")


def ready(
    request: TranslateRequest, model: TranslationModel | None
) -> Generator[Event, None, tuple[Method, TranslationModel, Plan]]:
    """Return the method, model and plan of a request; yield what happens while the model is loaded.

    Raises:
        UsageError: they do not fit each other.
        ModelError: the model is not available.
    """
    method = method_of(request)
    if model is None:
        model = yield from load(request)
    plan = method.plan(request, model)
    if request.model_sha256 not in ("", model.digest):
        yield Noticed(
            message=f"model {model.name} is another file than that of the image, so results differ",
            hint="pass the model's file with -m",
        )
    check_draws(model, plan, request.number)
    return method, model, plan


def load(request: TranslateRequest) -> Locating[TranslationModel]:
    """Load the model of a request; yield downloads and conversions.

    Raises:
        ModelError: it is not available.
        UsageError: no such device or dtype, or models that do not fit the method.
    """
    return (yield from method_of(request).load(request, loader(request)))


def check_draws(model: TranslationModel, plan: Plan, number: int) -> None:
    """Check that several draws of a source differ.

    Raises:
        UsageError: the sampler draws no noise.
    """
    if number > 1 and not model.draws_noise(plan):
        raise UsageError(
            f"sampler '{spell(plan.sampler)}' draws no noise: all draws of a source would be the same",
            hint="pass -n 1, or a stochastic sampler: dbim, heun:churn=0.33, sde",
        )


def plan_jobs_of(
    request: TranslateRequest,
    model: TranslationModel | None = None,
    plan: Plan | None = None,
    *,
    exclude: Sequence[Path] = (),
    may_be_empty: bool = False,
) -> Jobs:
    """Return the images to make.

    Args:
        model, plan: what names of outputs may hold; without them, these are not the final ones.
        exclude: files and folders that are never inputs. may_be_empty: a folder without images is no error.

    Raises:
        UsageError: nothing to do, or an output that would overwrite an input.
    """
    draws = range(request.start, request.start + request.number)
    values: dict[str, Any] = {"seed": request.seed}
    suffix = "ddbm"
    if model is not None and plan is not None:
        suffix = re.sub(r"[^\w.-]+", "-", model.name)
        values |= {"model": suffix, "nfe": plan.nfe, "sampler": plan.sampler.name}
    own = (request.sheet, request.steps_dir, request.save_prepared)
    return plan_jobs(
        request.source,
        request.output,
        recursive=request.recursive,
        format=request.format,
        suffix=suffix,
        to_folder=request.to_folder,
        exclude=[*exclude, *(path for path in own if path is not None)],
        naming=Naming(request.name, request.flatten, draws, values),
        selection=Selection(request.include, request.exclude, request.limit),
        may_be_empty=may_be_empty,
    )


def facts(maker: Maker, jobs: Jobs) -> dict[str, str]:
    """Return the resolved settings, for the header."""
    model, own = maker.model, maker.preprocess
    words = f"{model.card.task}, {own.words}, licence {model.card.licence}"
    skipped = f", {_count(jobs.links, 'linked folder')} followed" if jobs.links else ""
    skipped += f"; left out: {jobs.skipped}" if jobs.skipped else ""
    draws = maker.request.number
    each = f", {draws} draws of each" if draws > 1 else ""
    others = [] if maker.request.model else [f"-m {each.name}: {each.task}" for each in alternatives(model.card.task)]
    return {
        "Model": f"{model.name} ({words}) on {model.device}, {torch_name(model.dtype)}",
        **({"Others": "; ".join(others)} if others else {}),
        **({"Number type": model.speed.words} if model.speed and model.speed.words else {}),
        "Sampling": f"{in_words(maker.plan)}, seed {maker.request.seed}",
        "Input": f"{_count(len(jobs.jobs) // draws, 'image')}{each}{skipped}",
        **maker.edit.facts(),
        **model.facts(),
        **maker.tiling.facts,
        **({"Prepare": maker.preparation.fact()} if maker.preparation.fact() else {}),
        "Output": f"{_where(jobs)}, {_size(maker)}",
    }


def _size(maker: Maker) -> str:
    """Return the size of outputs in words."""
    own, crops = maker.preprocess, maker.preprocess.fit == "crop"
    if own.keeps_size or (maker.tiling.tile and not maker.tiling.auto):
        size = "size of the input"
    elif maker.request.keep_size:
        size = "size of the part of each input that is used" if crops else "size of the input"
        size = f"{own.words} pixels, resized to the {size}"
    elif crops:
        size = f"{own.words} pixels, the middle of each input"
    else:
        size = f"{own.width} pixels on the longer side" if own.width == own.height else f"at most {own.words} pixels"
        size += f", prepared drawings {own.words}" if maker.preparation.fact() not in ("", "none") else ""
    if maker.tiling.auto:
        size += "; larger inputs keep their size"
    return f"{size}, 16 bits" if maker.request.bits == "16" else size


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _where(jobs: Jobs) -> Path:
    return jobs.jobs[0].output if len(jobs.jobs) == 1 else jobs.folder


def check_noise_name(name: str | None, inputs: int) -> None:
    """Check that a name for the noise is given for one input only.

    Raises:
        UsageError: there are several, which would all get the same noise.
    """
    if name is not None and (inputs != 1 or not name):
        raise UsageError(f"--noise-name needs a single input, not {inputs}", hint="pass one image, or remove it")


def check_writable(jobs: Jobs, *, create: bool) -> None:
    """Check that outputs can be written to their folder.

    Args:
        create: create the folder and try; otherwise only check permissions.

    Raises:
        UsageError: they cannot.
    """
    folder = jobs.folder
    if jobs.jobs and is_pipe(jobs.jobs[0].output):
        return
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / temporary_name()
            probe.touch()
            probe.unlink()
            for place in {job.output.parent for job in jobs.jobs}:
                remove_leftovers(place, exclusive=False)
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
