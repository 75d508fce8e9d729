"""Scores of comparisons and sweeps: metrics of `evaluate` with a value per image or per set, and those of edits."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch

from ddbm_cli.metrics import METRICS, UNAVAILABLE, Metric, PictureMetric, SetMetric, interval
from ddbm_cli.metrics.feed import Item, Unread, feed
from ddbm_cli.metrics.instructions import BY_INSTRUCTION

AGAINST_TARGETS = ("mse", "psnr", "ssim", "lpips", "swd", "fid")
AGAINST_SOURCES = ("edge-f1",)

BATCH_SIZE = 32
CPU = torch.device("cpu")

M = TypeVar("M", bound=Metric)

Scores = dict[str, dict[str, float]]
Intervals = dict[str, tuple[float, float]]


def metrics(*, targets: bool, texts: bool = False) -> list[Metric]:
    """Return the available metrics: against targets, by the instructions, and against sources."""
    kinds: list[type[Metric]] = [METRICS[name] for name in AGAINST_TARGETS] if targets else []
    kinds += BY_INSTRUCTION if texts else ()
    kinds += [METRICS[name] for name in AGAINST_SOURCES]
    return [metric for kind in kinds if (metric := _available(kind)) is not None]


def _available(kind: type[M], **options: Any) -> M | None:
    try:
        return kind(CPU, **options)
    except UNAVAILABLE:
        return None


def score(
    outputs: Mapping[str, Path],
    sources: Mapping[str, Path],
    targets: Mapping[str, Path],
    *,
    texts: Mapping[str, str] = MappingProxyType({}),
    seed: int,
) -> tuple[Scores, dict[str, float], Intervals]:
    """Measure the outputs of one method.

    Args:
        outputs, sources, targets: input name -> file. texts: input name -> instruction.
        seed: of the bootstrap.

    Returns:
        label -> input name -> value, for the outputs that have what the metric needs and a finite value;
        label -> value of all outputs as a set; label -> 95 % bootstrap interval of the mean, of two values or more.
    """
    scores = of_edits(outputs, sources, texts)
    figures: dict[str, float] = {}
    for metric in metrics(targets=bool(targets)):
        truth, drawn = (targets, {}) if "targets" in metric.needs else ({}, sources)
        names = [name for name in outputs if name in truth or name in drawn]
        items = [
            Item(name=name, output=outputs[name], target=truth.get(name), sketch=drawn.get(name)) for name in names
        ]
        if isinstance(metric, PictureMetric):
            scores[metric.label] = _by_name(metric, items)
        elif isinstance(metric, SetMetric):
            figures |= _figures(metric, items)
    intervals = {
        label: interval(np.fromiter(values.values(), dtype=np.float64), seed=seed)
        for label, values in scores.items()
        if len(values) > 1
    }
    return scores, figures, intervals


def of_edits(outputs: Mapping[str, Path], sources: Mapping[str, Path], texts: Mapping[str, str]) -> Scores:
    """Measure outputs that were made by instructions.

    Args:
        outputs, sources, texts: as of `score`; outputs without a text are left out.

    Returns:
        label -> name -> value, in the order of `metrics.instructions.BY_INSTRUCTION`; {} without texts.
    """
    names = [name for name in outputs if name in texts]
    items = [Item(name=name, output=outputs[name], sketch=sources[name]) for name in names]
    kinds = BY_INSTRUCTION if names else ()
    found = [_available(kind, texts=[texts[name] for name in names]) for kind in kinds]
    return {metric.label: _by_name(metric, items) for metric in found if metric is not None}


def _by_name(metric: PictureMetric, items: list[Item]) -> dict[str, float]:
    """Return the finite values of a metric by the names of the items, in their order."""
    found = dict(_values(metric, items))
    return {item.name: found[place] for place, item in enumerate(items) if place in found}


def _values(metric: PictureMetric, items: list[Item]) -> Iterator[tuple[int, float]]:
    for batch in feed(items, batch_size=BATCH_SIZE, device=CPU, resize="targets"):
        if not isinstance(batch, Unread):
            pairs = zip(batch.index.tolist(), metric(batch).tolist(), strict=True)
            yield from ((place, value) for place, value in pairs if abs(value) < float("inf"))


def _figures(metric: SetMetric, items: list[Item]) -> dict[str, float]:
    """Return the first figure of a metric of sets, the one that it is named for, if it has a value."""
    for batch in feed(items, batch_size=BATCH_SIZE, device=CPU, resize="targets"):
        if not isinstance(batch, Unread):
            metric.update(batch)
    return {figure.label: figure.value for figure in metric.figures()[:1] if figure.value is not None}
