"""Measure outputs against targets, sketches, a prior, or each other: one pass over the files, in bounded memory."""

import csv
import io
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddbm_cli.foundation import plugins
from ddbm_cli.foundation.devices import choose_device
from ddbm_cli.foundation.errors import DdbmError, ImageError, UsageError
from ddbm_cli.foundation.events import Measured, Noticed, Reported
from ddbm_cli.imaging.io import open_picture, write_atomically
from ddbm_cli.imaging.walk import TWIN
from ddbm_cli.metrics import METRICS, UNAVAILABLE, Metric, PictureMetric, SetMetric, summarise
from ddbm_cli.metrics.base import Need
from ddbm_cli.metrics.feed import Item, Unread, feed
from ddbm_cli.metrics.inception import FEATURES, FID
from ddbm_cli.metrics.statistics import read_statistics
from ddbm_cli.models import load_model, locating
from ddbm_cli.options.evaluate import EvaluateRequest
from ddbm_cli.tasks import familiar
from ddbm_cli.tasks.cycle import loading_back
from ddbm_cli.tasks.events import Failed, Planned
from ddbm_cli.tasks.matching import Found, find

LARGEST_BATCH = 8
"""Largest batch of metrics that evaluate a network: they take long, and the bar should move."""

NEEDS: dict[Need, str] = {
    "targets": "pass the folder of targets after that of the outputs",
    "sketches": "pass --sketches FOLDER",
    "draws": "pass --draws FOLDER, or a folder that ddbm sample wrote",
    "prior": "pass a prior with -m",
    "cycle": "pass the model of the outputs with --cycle",
}
"""What a metric may need, and how to specify it."""

OF_STATISTICS = ("fid", "fid-clean")
"""Metrics that a statistics file is enough for."""

TABLE = "name,"
"""How a table of this program begins."""

EvaluateEvent = Planned | Noticed | Failed | Measured | Reported


def run(request: EvaluateRequest) -> Iterator[EvaluateEvent]:
    """Measure all outputs; yield what happens. An unreadable file, or a metric that is not available, is reported.

    Raises:
        UsageError: nothing to measure, an unknown metric, or one that needs what was not given.
        ModelError: the prior, or every metric, is not available.
        ImageError: the table cannot be written.
    """
    began = time.monotonic()
    _check_table(request)
    asked = request.metrics
    found = find(request, sets_only=asked is None or not any(_needs_pairs(name) for name in asked))
    names = _chosen(request, found)
    device = choose_device(request.device)
    statistics = None if found.statistics is None else read_statistics(found.statistics, FEATURES)
    prior = (yield from _prior(request)) if request.prior else {}
    cycle = (yield from loading_back(request)) if request.cycle else {}
    metrics, lacking = _make(names, device, request, {"prior": prior, "cycle": cycle})
    for metric in metrics.values():
        if statistics is not None and isinstance(metric, FID):
            metric.compare_with(statistics)
    yield Planned(total=len(found.items) + len(found.others), facts=_facts(request, found, metrics, device.type))
    yield from lacking
    yield from _notices(found)
    yield from familiar.notices(found.items, request.prior)
    for problem in found.problems:
        yield Failed(source=problem.path, message=problem.message, hint=problem.hint)
    measuring = _Measuring(metrics, found, request, device)
    yield from measuring.outputs()
    yield from measuring.others()
    read = measuring.read
    figures = measuring.figures() if read.any() else []
    if request.per_image:
        _write_table(request.per_image, [item.name for item in found.items], measuring.values, read)
    yield Reported(
        figures=figures,
        pictures=int(read.sum()),
        failed=len(found.problems) + measuring.failed,
        missing=len(found.missing),
        odd=len(found.odd),
        unavailable=[name for notice in lacking for name in notice.names],
        seconds=time.monotonic() - began,
    )


class _Measuring:
    """One pass over the files of an evaluation."""

    def __init__(
        self, metrics: dict[str, Metric], found: Found, request: EvaluateRequest, device: torch.device
    ) -> None:
        self._found = found
        self._device = device
        self._resize = request.resize
        self._seed = request.seed
        self._metrics = metrics
        sampled = {"prior", "cycle"} & {need for metric in metrics.values() for need in metric.needs}
        self._batch_size = min(request.batch_size, LARGEST_BATCH) if sampled else request.batch_size
        per_image = (name for name, metric in metrics.items() if isinstance(metric, PictureMetric))
        self.values = {name: np.full(len(found.items), np.nan) for name in per_image}
        self.read = np.zeros(len(found.items), dtype=bool)
        self.failed = 0

    def outputs(self) -> Iterator[EvaluateEvent]:
        """Measure the outputs, with their partners."""
        items, unpaired = self._found.items, self._found.is_unpaired
        size = _first_size(self._found.others) if unpaired and self._resize == "outputs" else None
        resize = None if unpaired else self._resize
        for batch in feed(items, batch_size=self._batch_size, device=self._device, resize=resize, size=size):
            if isinstance(batch, Unread):
                yield self._unread(batch)
                continue
            places = batch.index.numpy()
            self.read[places] = True
            for name, metric in self._metrics.items():
                if isinstance(metric, PictureMetric):
                    self.values[name][places] = metric(batch).double().cpu().numpy()
                elif isinstance(metric, SetMetric) and unpaired:
                    metric.add("outputs", batch.index, batch.outputs)
                elif isinstance(metric, SetMetric):
                    metric.update(batch)
            yield Measured(images=len(places))

    def others(self) -> Iterator[EvaluateEvent]:
        """Add the targets of an unpaired comparison to the metrics of sets."""
        others = self._found.others
        size = _first_size(self._found.items) if others and self._resize == "targets" else None
        for batch in feed(others, batch_size=self._batch_size, device=self._device, size=size):
            if isinstance(batch, Unread):
                yield self._unread(batch)
                continue
            for metric in self._metrics.values():
                if isinstance(metric, SetMetric):
                    metric.add("targets", batch.index, batch.outputs)
            yield Measured(images=len(batch.index))

    def _unread(self, batch: Unread) -> Failed:
        self.failed += 1
        return Failed(source=batch.item.output, message=batch.error.message, hint=batch.error.hint)

    def figures(self) -> list[Any]:
        """Return the figures of all metrics."""
        figures = []
        for name, metric in self._metrics.items():
            if isinstance(metric, PictureMetric):
                figures.append(summarise(metric, self.values[name][self.read], seed=self._seed))
            elif isinstance(metric, SetMetric):
                figures += metric.figures()
        return figures


def _first_size(items: list[Item]) -> tuple[int, int] | None:
    """Return the size of the first image that can be read."""
    for item in items:
        try:
            return open_picture(item.output).size
        except ImageError:
            continue
    return None


def _needs_pairs(name: str) -> bool:
    kind = METRICS.get(name)
    return kind is not None and "targets" in kind.needs and not issubclass(kind, SetMetric)


def _chosen(request: EvaluateRequest, found: Found) -> list[str]:
    """Return the names of the metrics to compute: those specified, or all that fit what is given."""
    given = {need: getattr(request, need) for need in NEEDS} | {"draws": found.has_draws}

    def lacks(name: str) -> list[Need]:
        return [need for need in METRICS[name].needs if not given[need]]

    def fits(name: str) -> bool:
        if "targets" not in METRICS[name].needs:
            return True
        return name in OF_STATISTICS if found.statistics else not (found.is_unpaired and _needs_pairs(name))

    if request.metrics is None:
        wanted = [name for name in METRICS if request.cycle or not METRICS[name].on_request]
        return [name for name in wanted if not lacks(name) and fits(name)]
    for name in request.metrics:
        if name not in METRICS and not plugins.exists("metrics", name):
            raise UsageError(f"unknown metric '{name}'", hint=f"choose from: {', '.join(METRICS)}")
        if lacks(name):
            need = lacks(name)[0]
            raise UsageError(f"metric '{name}' needs {need}", hint=NEEDS[need])
        if not fits(name) and found.statistics:
            hint = f"use --metrics {OF_STATISTICS[0]}, or pass the folder of targets"
            raise UsageError(f"metric '{name}' needs the targets, not their statistics", hint=hint)
        if not fits(name):
            sets = [each for each in METRICS if fits(each) and "targets" in METRICS[each].needs]
            raise UsageError(f"metric '{name}' needs pairs of images", hint=f"use --metrics {','.join(sets)}")
    return list(dict.fromkeys(request.metrics))


def _prior(request: EvaluateRequest) -> Generator[Any, None, dict[str, Any]]:
    """Return what a metric that needs a prior is made with."""
    file = yield from locating(request.prior)
    model = load_model(file, device=request.device, dtype="fp32")
    if not model.is_prior:
        raise UsageError(f"model '{model.name}' is a bridge, and has no likelihood", hint="pass a prior with -m")
    if model.codec.factor > 1:
        hint = "pass a prior of pixels, such as prior-3d-64"
        raise UsageError(f"model '{model.name}' is a prior of latents: it has no likelihood of images", hint=hint)
    path, preprocess = model.denoiser.path, model.card.preprocess
    return {"denoise": model.denoiser, "path": path, "preprocess": preprocess, "steps": request.steps}


def _make(
    names: list[str], device: object, request: EvaluateRequest, models: dict[str, dict[str, Any]]
) -> tuple[dict[str, Metric], list[Noticed]]:
    """Make the metrics. Those that are not available become notices, unless that leaves none.

    models: what metrics that need a model are made with, by that need.
    """
    made: dict[str, Metric] = {}
    lacking: dict[tuple[str, str], Noticed] = {}
    last: DdbmError | None = None
    for name in names:
        try:
            more = {key: each for need in METRICS[name].needs for key, each in models.get(need, {}).items()}
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
            "nothing to measure with the outputs alone", hint="pass the folder of their targets, or a prior with -m"
        )
    return made, list(lacking.values())


def _notices(found: Found) -> Iterator[Noticed]:
    if found.unmatched:
        yield Noticed(message="no output has the name of a target: both are compared as sets, without pairs")
    if found.missing:
        yield Noticed(message=f"{len(found.missing)} targets have no output", names=found.missing)
    if found.odd:
        yield Noticed(message=f"{len(found.odd)} outputs have no partner and are left out", names=found.odd)
    if found.skipped:
        yield Noticed(message=f"left out: {found.skipped}", names=found.skipped.names(TWIN))


def _facts(request: EvaluateRequest, found: Found, metrics: dict[str, Metric], device: str) -> dict[str, str]:
    facts = {"Outputs": f"{request.outputs}, {len(found.items)} to measure"}
    if request.targets:
        kind = "statistics" if found.statistics else f"a set of {len(found.others)}" if found.others else "pairs"
        resized = f"; {request.resize} are resized where they differ" if request.resize else ""
        facts["Targets"] = f"{request.targets}, {kind}{resized}"
    if request.sketches:
        facts["Sketches"] = str(request.sketches)
    if request.cycle:
        facts["Cycle"] = f"{request.cycle}, outputs of {request.direction} are translated back"
    if request.prior:
        facts["Prior"] = f"{request.prior}"
    if found.has_draws:
        counts = sorted({len(item.draws) + 1 for item in found.items})
        facts["Draws"] = f"{' to '.join(map(str, {counts[0]: 0, counts[-1]: 0}))} of each source"
    return facts | {"Metrics": f"{', '.join(metrics)} ({device})"}


def _check_table(request: EvaluateRequest) -> None:
    """Check before any work that the table can be written, and overwrites no other file."""
    path = request.per_image
    if path is None:
        return
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "it is a folder" if path.is_dir() else "its folder does not exist"
        raise ImageError(f"{path}: cannot be written ({what})", hint="choose another file for --per-image")
    if path.exists() and not request.overwrite and not _is_ours(path):
        raise UsageError(f"{path} already exists", hint="choose another file for --per-image, or pass --overwrite")


def _is_ours(path: Path) -> bool:
    """Return whether a file is a table of this program, or empty."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(TABLE)) in (b"", TABLE.encode())
    except OSError:
        return False


def _write_table(path: Path, names: list[str], values: dict[str, np.ndarray], read: np.ndarray) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", *values])
    for place in np.flatnonzero(read):
        table.writerow([names[place], *(_cell(column[place]) for column in values.values())])
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.8g}"
