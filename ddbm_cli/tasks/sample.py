"""Make pictures from a prior: translate's machinery, with noise for a source.

Picture number i is named by its number, and its noise comes from the seed and that name: so a folder can grow to any
number of pictures, in any number of runs and batches, and each stays what it is.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
import torch
from pydantic import Field

from ddbm_cli.errors import UsageError
from ddbm_cli.imaging.files import Job, Jobs
from ddbm_cli.imaging.io import encode_picture, open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Placement, Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.settings import settings
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.events import Event, Intended, Planned
from ddbm_cli.tasks.translate import Loaded, Tally, TranslateRequest, Work

SHEET_PICTURES = 100
SHEET_COLUMNS = 10


@settings
class SampleRequest:
    """How many pictures, and how; None leaves a choice to the model's card, or for `batch_size` to the device.

    number: pictures that the folder `output` shall have. sheet: a picture of the first ones, side by side.
    prompt, guidance_scale: as of `TranslateRequest`.
    npz: a NumPy archive of all, uint8 (N, H, W, 3) under "arr_0", as evaluators take it.
    """

    output: Path
    number: Annotated[int, Field(ge=1, le=10**6)] = 16
    model: str | None = None
    sampler: str | None = None
    grid: str | None = None
    steps: int | None = None
    nfe: int | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    device: str = "auto"
    dtype: str = "auto"
    overwrite: bool = False
    dry_run: bool = False
    prompt: str = ""
    guidance_scale: Annotated[float, Field(ge=0)] = 7.5
    sheet: Path | None = None
    npz: Path | None = None


def request(**given: Any) -> SampleRequest:
    """Return the request for what is given.

    Raises:
        UsageError: a value is out of its range.
    """
    try:
        return SampleRequest(**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['input']}: {first['msg']}", hint="see: ddbm sample --help") from None


def run(request: SampleRequest) -> Iterator[Event]:
    """Make the pictures that are not there yet; yields what happens.

    Raises:
        UsageError: an option cannot be used, the model is no prior, or the output folder cannot be written.
        ModelError: the model cannot be had.
    """
    asked = _as_translation(request)
    translate.check_budget(asked)
    jobs = _jobs(request)
    translate.see_that_it_can_be_written(jobs, make=False)
    model = yield from translate.load(asked, translate.the_prior(request.model))
    if not model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a bridge: it makes pictures from other pictures",
            hint=f"ddbm translate INPUT OUTPUT -m {request.model}; or name a prior",
        )
    tally = Tally()
    plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
    work = _FromNoise(asked, model, plan, tally, b"", None)
    kept, todo = work.sort(jobs.jobs)
    tally.kept = len(kept)
    facts = translate.facts(work, jobs) | {"Input": "noise", "Output": f"{request.output}"}
    yield Planned(total=len(jobs.jobs), kept=tally.kept, facts=facts)
    yield from kept
    if request.dry_run:
        yield from (Intended(source=job.source, output=job.output) for job in todo)
        return
    if todo:
        translate.see_that_it_can_be_written(jobs, make=True)
        yield from work.run(todo)
    _gather(request, [job.output for job in jobs.jobs if job.output.exists()], work.preprocess)
    yield tally.finished(request.output)


class _FromNoise(Work):
    """Work whose pictures have no source; an empty one stands for its shape."""

    def _load(self, job: Job) -> Loaded:
        size = self.preprocess.size
        whole = Placement((0, 0, size, size), (size, size), (size, size))
        return Loaded(job, torch.zeros(3, size, size), whole, digest="")

    def _another_source(self, job: Job, found: dict[str, Any]) -> str:
        return "" if found.get("source") == job.name else "another number"


def _as_translation(request: SampleRequest) -> TranslateRequest:
    """Return the request for `Work`: the same fields, but for those that are about the folder."""
    own = ("number", "sheet", "npz")
    given = {name: value for name, value in vars(request).items() if name not in own and not name.startswith("_")}
    return TranslateRequest(source="noise", **given)


def _jobs(request: SampleRequest) -> Jobs:
    names = [f"{index:06d}" for index in range(request.number)]
    return Jobs([Job(name, Path(name), request.output / f"{name}.png") for name in names], 0, request.output)


def _gather(request: SampleRequest, files: list[Path], preprocess: Preprocess) -> None:
    """Write the sheet and the archive, from the pictures in the folder."""
    if request.sheet and files:
        shown = torch.stack([preprocess.forward(open_picture(file))[0] for file in files[:SHEET_PICTURES]])
        request.sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet = contact_sheet([shown], columns=min(SHEET_COLUMNS, len(shown)))
        write_atomically(request.sheet, encode_picture(sheet, "png"))
    if request.npz and files:
        pixels = np.stack([np.asarray(open_picture(file).convert("RGB")) for file in files])
        body = io.BytesIO()
        np.savez(body, pixels)
        request.npz.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(request.npz, body.getvalue())
