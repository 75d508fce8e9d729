"""Images from noise with a prior, or several draws of each source with a bridge.

Image number i of a prior is seeded by its number, so a folder can grow to any number of images, in any number of runs
and batches, and each image stays the same. Draws of a source are seeded by the source's name and the number.
"""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import Job, Jobs
from ddbm_cli.imaging.guides import Companions
from ddbm_cli.imaging.io import open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Placement, Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.methods import DEFAULT_METHOD, METHODS
from ddbm_cli.methods.base import builtin_prior
from ddbm_cli.models import TranslationModel
from ddbm_cli.options.check import from_options
from ddbm_cli.options.sample import SampleRequest
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.draws import Draw, DrawMaker, draw_jobs, flat, is_between, spread_file
from ddbm_cli.tasks.events import Event, Intended, Noticed, Planned
from ddbm_cli.tasks.making import Loaded, Maker
from ddbm_cli.tasks.overview import gather, write_sheet
from ddbm_cli.tasks.request import TranslateRequest, check_budget, check_graph, loader
from ddbm_cli.tasks.trajectory import check_replaceable, not_ours, trajectory_files
from ddbm_cli.tasks.work import Tally, Work

SHEET_IMAGES = 100
SHEET_COLUMNS = 10
NOISE = "noise"
"""What stands for the source of images from noise."""


def request(**given: Any) -> SampleRequest:
    """Return the request for the given options.

    Raises:
        UsageError: a value is out of its range.
    """
    return from_options(SampleRequest, given, command="sample")


def run(request: SampleRequest, *, model: TranslationModel | None = None) -> Iterator[Event]:
    """Make the images that do not exist yet; yields what happens.

    Args:
        request: what to do.
        model: the model of the request, if it is loaded already.

    Raises:
        UsageError: an option cannot be used, the model is of the wrong kind, or the folder cannot be written.
        ModelError: the model is not available.
    """
    _check(request)
    asked = _as_translation(request)
    check_budget(asked)
    check_graph(asked)
    groups = _draws(request)
    jobs = flat(groups, request.output) if groups else numbered(request)
    translate.check_writable(jobs, create=False)
    maps = [spread_file(group[0].output.parent) for group in groups] if request.spread else []
    trajectories = trajectory_files(request, jobs)
    _check_extras(request, maps, trajectories.of_all(jobs.jobs) if trajectories else ())
    if model is None:
        model = yield from loader(asked)(request.model if groups else builtin_prior(request.model))
    _check_model(request, model)
    tally = Tally()
    plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
    if request.source is not None:
        translate.check_draws(model, plan, request.number)
    truths = Companions(request.encode, what="truth") if request.encode else None
    method = METHODS[DEFAULT_METHOD]
    maker = DrawMaker(asked, method, model, plan, truths) if groups else NoiseMaker(asked, method, model, plan)
    work = Work(maker, tally, trajectories=trajectories)
    kept, todo = work.sort(jobs.share(request.shard))
    source = f"{len(groups)} sources, {request.number} draws of each" if groups else "noise"
    facts = translate.facts(maker, jobs) | {"Input": source, "Output": f"{request.output}"}
    yield Planned(total=len(kept) + len(todo), kept=tally.kept, facts=facts)
    yield from (Noticed(message=text) for text in maker.doubts())
    yield from kept
    if request.dry_run:
        yield from (Intended(source=job.source, output=job.output) for job in todo)
        return
    if todo:
        translate.check_writable(jobs, create=True)
        yield from work.run(todo)
    files = [job.output for job in jobs.jobs if job.output.exists()]
    if request.shard != (0, 1) and len(files) < len(jobs.jobs):
        yield tally.finished(request.output)
        return
    if groups:
        gather(groups, maker.preprocess, maps=maps, sheet=request.sheet, between=is_between)
    elif request.sheet and files:
        _write_sheet(request.sheet, files, maker.preprocess)
    if request.npz and files:
        _write_npz(request.npz, files)
    yield tally.finished(request.output)


def _check(request: SampleRequest) -> None:
    """Check that the options go together."""
    if request.source is None:
        for option in ("interpolate", "encode", "spread", "recursive", "fit", "noise_name"):
            if getattr(request, option):
                raise UsageError(
                    f"--{option.replace('_', '-')} needs source images", hint="pass an image or a folder as SOURCES"
                )
    if request.interpolate and request.number < 2:
        raise UsageError("--interpolate needs at least two draws", hint="pass -n 2 or more")


def _check_extras(request: SampleRequest, maps: Sequence[Path], trajectories: Iterable[Path]) -> None:
    """Check that no file is replaced that this program did not write."""
    files = [*([request.sheet] if request.sheet else []), *maps, *trajectories]
    check_replaceable(files, overwrite=request.overwrite)
    if request.npz and request.npz.exists() and not request.overwrite and not _is_archive(request.npz):
        raise not_ours(request.npz)


def _is_archive(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist() == ["arr_0.npy"]
    except (OSError, zipfile.BadZipFile):
        return False


def _check_model(request: SampleRequest, model: TranslationModel) -> None:
    if request.source is None and not model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a bridge: it needs source images",
            hint=f"ddbm translate INPUT OUTPUT -m {request.model}; or pass a prior with -m",
        )
    if request.source is not None and model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a prior: it has no source image",
            hint="remove the sources; or edit them: ddbm translate --method sdedit",
        )
    if model.card.inpainting:
        raise UsageError(
            f"model '{model.name}' is an inpainting model, and draws are of whole images",
            hint="translate with different seeds: ddbm translate INPUT OUTPUT --mask FILE --seed 1",
        )


def _draws(request: SampleRequest) -> list[list[Draw]]:
    """Return what to make of each source; an empty list without sources."""
    if request.source is None:
        return []
    groups = draw_jobs(
        request.source,
        request.output,
        number=request.number,
        first=request.start,
        between=request.interpolate,
        recursive=request.recursive,
    )
    translate.check_noise_name(request.noise_name, len(groups))
    return groups


class NoiseMaker(Maker):
    """Makes images from noise; the names of the jobs are their numbers."""

    from_noise: ClassVar[bool] = True

    def load(self, job: Job, read: Callable[[], bytes]) -> Loaded:
        width, height = size = self.preprocess.width, self.preprocess.height
        whole = Placement((0, 0, width, height), size, size)
        return Loaded(job, torch.zeros(3, height, width), whole, digest="")

    def reads(self, record: Mapping[str, Any], job: Job, read: Callable[[], bytes]) -> bool:
        return bool(record.get("source") == job.name)


def noise_maker(request: SampleRequest, model: TranslationModel) -> NoiseMaker:
    """Return what makes the images of a request without sources.

    Raises:
        UsageError: the model is not a prior, or an option cannot be used.
    """
    _check_model(request, model)
    plan = model.plan(request.sampler, request.grid, request.steps, request.nfe)
    return NoiseMaker(_as_translation(request), METHODS[DEFAULT_METHOD], model, plan)


def _as_translation(request: SampleRequest) -> TranslateRequest:
    """Return the request for `Work`: the same fields, except those that concern the folder."""
    own = ("number", "start", "interpolate", "encode", "spread", "sheet", "npz", "source")
    given = {name: value for name, value in vars(request).items() if name not in own and not name.startswith("_")}
    given |= {"prepare": "none"} if request.encode else {}  # truths lie as the sources do
    return TranslateRequest(source=request.source or NOISE, objects="one", **given)


def numbered(request: SampleRequest) -> Jobs:
    """Return the jobs of a request without sources: OUTPUT/000000.png and so on."""
    names = [f"{index:06d}" for index in range(request.start, request.start + request.number)]
    return Jobs([Job(name, Path(name), request.output / f"{name}.png") for name in names], request.output)


def _write_sheet(file: Path, files: list[Path], preprocess: Preprocess) -> None:
    shown = torch.stack([preprocess.forward(open_picture(each))[0] for each in files[:SHEET_IMAGES]])
    write_sheet(file, contact_sheet([shown], columns=min(SHEET_COLUMNS, len(shown))))


def _write_npz(file: Path, files: list[Path]) -> None:
    """Write all images as one array.

    Raises:
        UsageError: they differ in size.
    """
    pixels = [np.asarray(open_picture(each).convert("RGB")) for each in files]
    if len({each.shape for each in pixels}) > 1:
        raise UsageError("--npz needs images of one size", hint="add --fit crop")
    body = io.BytesIO()
    np.savez(body, np.stack(pixels))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, body.getvalue())
