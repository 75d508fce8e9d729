"""Measure outputs: against their targets, their sketches, or each other; one pass over the files, in flat memory."""

import csv
import io
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddbm_cli.foundation.devices import choose_device
from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Measured, Noticed, Reported
from ddbm_cli.imaging.io import write_atomically
from ddbm_cli.imaging.walk import TWIN, Problem, Skipped, list_images, stem_key
from ddbm_cli.metrics import METRICS, UNAVAILABLE, Metric, PictureMetric, SetMetric, summarise
from ddbm_cli.metrics.base import Need
from ddbm_cli.metrics.feed import Item, Unread, feed
from ddbm_cli.models import load_model, locating
from ddbm_cli.options.evaluate import EvaluateRequest
from ddbm_cli.tasks.events import Failed, Planned

LIKELIHOOD_BATCH = 8
"""Of pictures whose likelihood is measured, at most: it takes long, and the bar should move."""

NEEDS: dict[Need, str] = {
    "targets": "name their folder after that of the outputs",
    "sketches": "give --sketches FOLDER",
    "draws": "give --draws FOLDER",
    "prior": "name one with -m",
}
"""What a metric may need, and how to give it."""


EvaluateEvent = Planned | Noticed | Failed | Measured | Reported


@dataclass(frozen=True)
class _Found:
    items: list[Item]
    missing: list[str]
    odd: list[str]
    skipped: Skipped
    problems: list[Problem]


def run(request: EvaluateRequest) -> Iterator[EvaluateEvent]:
    """Measure all outputs; yields what happens. A bad file, or a metric that cannot be had, costs only itself.

    Raises:
        UsageError: nothing to measure, an unknown metric, or one that needs what is not given.
        ModelError: the prior, or none of the metrics, can be had.
        ImageError: the table cannot be written.
    """
    began = time.monotonic()
    names = _chosen(request)
    found = _find(request)
    device = choose_device(request.device)
    prior = (yield from _prior(request)) if request.prior else {}
    metrics, lacking = _make(names, device, request, prior)
    yield Planned(total=len(found.items), facts=_facts(request, found, metrics, device.type))
    yield from lacking
    yield from _notices(found)
    for problem in found.problems:
        yield Failed(source=problem.path, message=problem.message, hint=problem.hint)
    values = {
        name: np.full(len(found.items), np.nan) for name, metric in metrics.items() if isinstance(metric, PictureMetric)
    }
    read = np.zeros(len(found.items), dtype=bool)
    batch_size = min(request.batch_size, LIKELIHOOD_BATCH) if "bpd" in metrics else request.batch_size
    for batch in feed(found.items, batch_size=batch_size, device=device, resize=request.resize):
        if isinstance(batch, Unread):
            yield Failed(source=batch.item.output, message=batch.error.message, hint=batch.error.hint)
            continue
        places = batch.index.numpy()
        read[places] = True
        for name, metric in metrics.items():
            if isinstance(metric, PictureMetric):
                values[name][places] = metric(batch).double().cpu().numpy()
            elif isinstance(metric, SetMetric):
                metric.update(batch)
        yield Measured(images=len(places))
    figures = []
    for name, metric in metrics.items():
        if isinstance(metric, PictureMetric):
            figures.append(summarise(metric, values[name][read], seed=request.seed))
        elif isinstance(metric, SetMetric) and read.any():
            figures += metric.figures()
    if request.per_image:
        _write_table(request.per_image, [found.items[place].name for place in np.flatnonzero(read)], values, read)
    yield Reported(
        figures=figures,
        pictures=int(read.sum()),
        failed=len(found.problems) + len(read) - int(read.sum()),
        missing=len(found.missing),
        odd=len(found.odd),
        unavailable=[name for notice in lacking for name in notice.names],
        seconds=time.monotonic() - began,
    )


def _chosen(request: EvaluateRequest) -> list[str]:
    given = {need: getattr(request, need) for need in NEEDS}

    def lacks(name: str) -> list[Need]:
        return [need for need in METRICS[name].needs if not given[need]]

    if request.metrics is None:
        return [name for name in METRICS if not lacks(name)]
    for name in request.metrics:
        if name not in METRICS:
            raise UsageError(f"unknown metric '{name}'", hint=f"choose from: {', '.join(METRICS)}")
        if lacks(name):
            need = lacks(name)[0]
            raise UsageError(f"metric '{name}' needs {need}", hint=NEEDS[need])
    return list(dict.fromkeys(request.metrics))


def _prior(request: EvaluateRequest) -> Generator[Any, None, dict[str, Any]]:
    """Return what a metric that needs a prior is made with."""
    file = yield from locating(request.prior)
    model = load_model(file, device=request.device, dtype="fp32")
    if not model.is_prior:
        raise UsageError(f"model '{model.name}' is a bridge, and has no likelihood", hint="name a prior with -m")
    path, preprocess = model.denoiser.path, model.card.preprocess
    return {"denoise": model.denoiser, "path": path, "preprocess": preprocess, "steps": request.steps}


def _make(
    names: list[str], device: object, request: EvaluateRequest, prior: dict[str, Any]
) -> tuple[dict[str, Metric], list[Noticed]]:
    """Make the metrics; those that cannot be had become notices, unless that leaves none."""
    made: dict[str, Metric] = {}
    lacking: dict[tuple[str, str], Noticed] = {}
    last: DdbmError | None = None
    for name in names:
        try:
            more = prior if "prior" in METRICS[name].needs else {}
            made[name] = METRICS[name](device, seed=request.seed, **more)  # type: ignore[arg-type]
        except UNAVAILABLE as error:
            last = error
            lacking.setdefault(
                (error.message, error.hint), Noticed(message=error.message, hint=error.hint)
            ).names.append(name)
    if not made:
        if last:
            raise last
        raise UsageError(
            "nothing to measure with the outputs alone", hint="name the folder of their targets, or a prior: -m"
        )
    return made, list(lacking.values())


def _find(request: EvaluateRequest) -> _Found:
    skipped, problems = Skipped(), list[Problem]()
    outputs = _named(request.outputs, skipped, problems)
    others = {"targets": request.targets, "sketches": request.sketches}
    others |= {str(folder): folder for folder in request.draws}
    partners: list[dict[str, Path]] = []
    for path in filter(None, others.values()):
        files = _named(path, skipped, problems)
        if len(files) == len(outputs) == 1 and path.is_file() and request.outputs.is_file():
            files = dict(zip(outputs, files.values(), strict=True))  # two files are a pair, whatever their names
        partners.append(files)
    paired = [name for name in outputs if all(name in files for files in partners)]
    if not paired:
        where = ", ".join(str(path) for path in others.values() if path)
        raise UsageError(
            f"no output in {request.outputs} has a partner in {where}",
            hint="what belongs together has the same file name, but for the extension, in the same sub-folder",
        )
    targets = _take(partners, request.targets)
    sketches = _take(partners, request.sketches)
    items = [
        Item(
            name=name,
            output=outputs[name],
            target=targets.get(name),
            sketch=sketches.get(name),
            draws=tuple(files[name] for files in partners),
        )
        for name in paired
    ]
    missing = [str(path) for name, path in targets.items() if name not in outputs]
    odd = [str(outputs[name]) for name in outputs if name not in set(paired)]
    return _Found(items, missing, odd, skipped, problems)


def _take(partners: list[dict[str, Path]], given: Path | None) -> dict[str, Path]:
    """Return the next partners of the list, if they were given."""
    return partners.pop(0) if given else {}


def _named(path: Path, skipped: Skipped, problems: list[Problem]) -> dict[str, Path]:
    """Return the images of a folder, or one, by their keys; add what was left out to `skipped` and `problems`."""
    if path.is_file():
        return {stem_key(path.name): path}
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder", hint="check the path")
    listing = list_images(path)
    named = listing.stems()
    skipped.update(listing.skipped)
    problems.extend(listing.problems)
    if not named:
        left = f"; left out: {listing.skipped}" if listing.skipped else ""
        raise UsageError(f"{path}: no images in it{left}", hint="pass a folder with images in it")
    return named


def _notices(found: _Found) -> Iterator[Noticed]:
    if found.missing:
        yield Noticed(message=f"{len(found.missing)} targets have no output", names=found.missing)
    if found.odd:
        yield Noticed(message=f"{len(found.odd)} outputs have no partner, and are left out", names=found.odd)
    if found.skipped:
        yield Noticed(message=f"left out: {found.skipped}", names=found.skipped.names(TWIN))


def _facts(request: EvaluateRequest, found: _Found, metrics: dict[str, Metric], device: str) -> dict[str, str]:
    facts = {"Outputs": f"{request.outputs}, {len(found.items)} to measure"}
    if request.targets:
        brought = f"; {request.resize} are brought to the size of the other" if request.resize else ""
        facts["Targets"] = f"{request.targets}{brought}"
    if request.sketches:
        facts["Sketches"] = str(request.sketches)
    if request.prior:
        facts["Prior"] = f"{request.prior}"
    if request.draws:
        facts["Draws"] = f"{len(request.draws) + 1} of each source"
    return facts | {"Metrics": f"{', '.join(metrics)} ({device})"}


def _write_table(path: Path, names: list[str], values: dict[str, np.ndarray], read: np.ndarray) -> None:
    columns = [column[read] for column in values.values()]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", *values])
    for place, name in enumerate(names):
        table.writerow([name, *(_cell(column[place]) for column in columns)])
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.8g}"
