"""Scores of a comparison: the metrics of `evaluate` that have a value per image, or one per set of images."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from ddbm_cli.metrics import METRICS, UNAVAILABLE, Metric, PictureMetric, SetMetric, interval
from ddbm_cli.metrics.feed import Item, Unread, feed

AGAINST_TARGETS = ("mse", "psnr", "ssim", "lpips", "swd", "fid")
AGAINST_SOURCES = ("edge-f1",)

BATCH_SIZE = 32

Scores = dict[str, dict[str, float]]
Intervals = dict[str, tuple[float, float]]


def metrics(*, targets: bool) -> list[Metric]:
    """Return the available metrics, those against targets first."""
    found: list[Metric] = []
    for name in (*(AGAINST_TARGETS if targets else ()), *AGAINST_SOURCES):
        try:
            found.append(METRICS[name](torch.device("cpu")))
        except UNAVAILABLE:
            continue
    return found


def score(
    outputs: Mapping[str, Path], sources: Mapping[str, Path], targets: Mapping[str, Path], *, seed: int
) -> tuple[Scores, dict[str, float], Intervals]:
    """Measure the outputs of one method.

    Args:
        outputs, sources, targets: input name -> file.
        seed: of the bootstrap.

    Returns:
        label -> input name -> value, for the outputs that have what the metric needs and a finite value;
        label -> value of all outputs as a set; label -> 95 % bootstrap interval of the mean, of two values or more.
    """
    scores: Scores = {}
    figures: dict[str, float] = {}
    for metric in metrics(targets=bool(targets)):
        truth, drawn = (targets, {}) if "targets" in metric.needs else ({}, sources)
        names = [name for name in outputs if name in truth or name in drawn]
        items = [
            Item(name=name, output=outputs[name], target=truth.get(name), sketch=drawn.get(name)) for name in names
        ]
        if isinstance(metric, PictureMetric):
            found = {names[place]: value for place, value in _values(metric, items)}
            scores[metric.label] = {name: found[name] for name in names if name in found}
        elif isinstance(metric, SetMetric):
            figures |= _figures(metric, items)
    intervals = {
        label: interval(np.fromiter(values.values(), dtype=np.float64), seed=seed)
        for label, values in scores.items()
        if len(values) > 1
    }
    return scores, figures, intervals


def _values(metric: PictureMetric, items: list[Item]) -> Iterator[tuple[int, float]]:
    for batch in feed(items, batch_size=BATCH_SIZE, device=torch.device("cpu"), resize="targets"):
        if not isinstance(batch, Unread):
            pairs = zip(batch.index.tolist(), metric(batch).tolist(), strict=True)
            yield from ((place, value) for place, value in pairs if abs(value) < float("inf"))


def _figures(metric: SetMetric, items: list[Item]) -> dict[str, float]:
    """Return the first figure of a metric of sets, the one that it is named for, if it has a value."""
    for batch in feed(items, batch_size=BATCH_SIZE, device=torch.device("cpu"), resize="targets"):
        if not isinstance(batch, Unread):
            metric.update(batch)
    return {figure.label: figure.value for figure in metric.figures()[:1] if figure.value is not None}
