"""Make pictures from a prior, or many of each source with a bridge: translate's machinery, with other noise.

Picture number i of a prior is named by its number, and its noise comes from the seed and that name: so a folder can
grow to any number of pictures, in any number of runs and batches, and each stays what it is. So do draws of a source.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.files import Job, Jobs
from ddbm_cli.imaging.guides import Companions
from ddbm_cli.imaging.io import encode_picture, open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Placement, Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import TranslationModel
from ddbm_cli.options.check import from_options
from ddbm_cli.options.sample import SampleRequest
from ddbm_cli.samplers import Plan
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.draws import Draw, ManyDraws, draw_jobs, flat, gather
from ddbm_cli.tasks.events import Event, Intended, Planned
from ddbm_cli.tasks.request import NOISE, TranslateRequest, check_budget, load, the_prior
from ddbm_cli.tasks.work import Loaded, Tally, Work

SHEET_PICTURES = 100
SHEET_COLUMNS = 10


def request(**given: Any) -> SampleRequest:
    """Return the request for what is given.

    Raises:
        UsageError: a value is out of its range.
    """
    return from_options(SampleRequest, given, command="sample")


def run(request: SampleRequest) -> Iterator[Event]:
    """Make the pictures that are not there yet; yields what happens.

    Raises:
        UsageError: an option cannot be used, the model is of the wrong kind, or the folder cannot be written.
        ModelError: the model cannot be had.
    """
    _check(request)
    asked = _as_translation(request)
    check_budget(asked)
    groups = _draws(request)
    jobs = flat(groups, request.output) if groups else _numbered(request)
    translate.see_that_it_can_be_written(jobs, make=False)
    model = yield from load(asked, request.model if groups else the_prior(request.model))
    _check_model(request, model)
    tally = Tally()
    plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
    _check_plan(request, plan)
    truths = Companions(request.encode, what="truth") if request.encode else None
    many = ManyDraws(asked, model, plan, tally, truths) if groups else None
    work = many or _FromNoise(asked, model, plan, tally, b"", None)
    kept, todo = work.sort(jobs.share(request.shard))
    tally.kept = len(kept)
    source = f"{len(groups)} sources, {request.number} draws of each" if groups else "noise"
    facts = translate.facts(work, jobs) | {"Input": source, "Output": f"{request.output}"}
    yield Planned(total=len(kept) + len(todo), kept=tally.kept, facts=facts)
    yield from kept
    if request.dry_run:
        yield from (Intended(source=job.source, output=job.output) for job in todo)
        return
    if todo:
        translate.see_that_it_can_be_written(jobs, make=True)
        yield from work.run(todo)
    files = [job.output for job in jobs.jobs if job.output.exists()]
    if request.shard != (0, 1) and len(files) < len(jobs.jobs):
        yield tally.finished(request.output)
        return
    if groups:
        gather(groups, work.preprocess, spread=request.spread, sheet=request.sheet)
    elif request.sheet and files:
        _write_sheet(request.sheet, files, work.preprocess)
    if request.npz and files:
        _write_npz(request.npz, files)
    yield tally.finished(request.output)


def _check(request: SampleRequest) -> None:
    """See that the options belong together."""
    if request.source is None:
        for option in ("interpolate", "encode", "spread", "recursive", "fit"):
            if getattr(request, option):
                raise UsageError(f"--{option} is for draws of sources", hint="name a sketch, or a folder of them")
    if request.interpolate and request.number < 2:
        raise UsageError("there is no way between draws of which there is one", hint="give -n 2 or more")


def _check_model(request: SampleRequest, model: TranslationModel) -> None:
    if request.source is None and not model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a bridge: it makes pictures from other pictures",
            hint=f"ddbm translate INPUT OUTPUT -m {request.model}; or name a prior",
        )
    if request.source is not None and model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a prior: it makes pictures from noise, and knows no source",
            hint="leave out the sources; or edit them: ddbm translate --method sdedit",
        )
    if model.card.inpainting:
        raise UsageError(
            f"model '{model.name}' fills holes, and draws are of whole pictures",
            hint="translate with one --seed after the other: ddbm translate INPUT OUTPUT --mask FILE --seed 1",
        )


def _check_plan(request: SampleRequest, plan: Plan) -> None:
    if request.source is not None and request.number > 1 and not plan.draws:
        raise UsageError(
            f"sampler '{spell(plan.sampler)}' draws no noise: all draws of a source would be one picture",
            hint="give -n 1, or a sampler that draws: dbim, heun:churn=0.33, sde",
        )


def _draws(request: SampleRequest) -> list[list[Draw]]:
    """Return what to make of each source, nothing where there is none."""
    if request.source is None:
        return []
    return draw_jobs(
        request.source,
        request.output,
        number=request.number,
        between=request.interpolate,
        recursive=request.recursive,
    )


class _FromNoise(Work):
    """Work whose pictures have no source; an empty one stands for its shape."""

    def _load(self, job: Job) -> Loaded:
        size = self.preprocess.size
        whole = Placement((0, 0, size, size), (size, size), (size, size))
        return Loaded(job, torch.zeros(3, size, size), whole, digest="")

    def label(self, job: Job) -> int:
        return int(job.name) % self.model.classes if self._class is None and self.model.classes else super().label(job)

    def _another_source(self, job: Job, found: dict[str, Any]) -> str:
        return "" if found.get("source") == job.name else "another number"


def _as_translation(request: SampleRequest) -> TranslateRequest:
    """Return the request for `Work`: the same fields, but for those that are about the folder."""
    own = ("number", "interpolate", "encode", "spread", "sheet", "npz", "source")
    given = {name: value for name, value in vars(request).items() if name not in own and not name.startswith("_")}
    return TranslateRequest(source=request.source or NOISE, **given)


def _numbered(request: SampleRequest) -> Jobs:
    names = [f"{index:06d}" for index in range(request.number)]
    return Jobs([Job(name, Path(name), request.output / f"{name}.png") for name in names], 0, request.output)


def _write_sheet(file: Path, files: list[Path], preprocess: Preprocess) -> None:
    shown = torch.stack([preprocess.forward(open_picture(each))[0] for each in files[:SHEET_PICTURES]])
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet([shown], columns=min(SHEET_COLUMNS, len(shown)))
    write_atomically(file, encode_picture(sheet, "png"))


def _write_npz(file: Path, files: list[Path]) -> None:
    """Write all pictures as one array.

    Raises:
        UsageError: they differ in size.
    """
    pixels = [np.asarray(open_picture(each).convert("RGB")) for each in files]
    if len({each.shape for each in pixels}) > 1:
        raise UsageError("pictures of several sizes do not go into one array", hint="add --fit crop")
    body = io.BytesIO()
    np.savez(body, np.stack(pixels))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, body.getvalue())
