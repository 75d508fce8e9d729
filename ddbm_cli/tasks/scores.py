"""Scores of a comparison: the metrics of `evaluate` that one picture, or all of a method, has a number in."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ddbm_cli.metrics import METRICS, UNAVAILABLE, Metric, PictureMetric, SetMetric
from ddbm_cli.metrics.feed import Item, Unread, feed

AGAINST_TARGETS = ("mse", "psnr", "ssim", "lpips", "swd", "fid")
AGAINST_SOURCES = ("edge-f1",)

BATCH_SIZE = 32

Scores = dict[str, dict[str, float]]


def metrics(*, targets: bool) -> list[Metric]:
    """Return the metrics that can be had; those against targets first, if there are any."""
    found: list[Metric] = []
    for name in (*(AGAINST_TARGETS if targets else ()), *AGAINST_SOURCES):
        try:
            found.append(METRICS[name](torch.device("cpu")))
        except UNAVAILABLE:
            continue
    return found


def score(
    outputs: Mapping[str, Path], sources: Mapping[str, Path], targets: Mapping[str, Path]
) -> tuple[Scores, dict[str, float]]:
    """Return label -> name -> value, for the outputs that have what the metric needs and a finite value; and label ->
    value, of all outputs as a set.
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
    return scores, figures


def _values(metric: PictureMetric, items: list[Item]) -> Iterator[tuple[int, float]]:
    for batch in feed(items, batch_size=BATCH_SIZE, device=torch.device("cpu"), resize="targets"):
        if not isinstance(batch, Unread):
            pairs = zip(batch.index.tolist(), metric(batch).tolist(), strict=True)
            yield from ((place, value) for place, value in pairs if abs(value) < float("inf"))


def _figures(metric: SetMetric, items: list[Item]) -> dict[str, float]:
    """Return the first figure that a metric of sets ends in, which it is named for, if it has a value."""
    for batch in feed(items, batch_size=BATCH_SIZE, device=torch.device("cpu"), resize="targets"):
        if not isinstance(batch, Unread):
            metric.update(batch)
    return {figure.label: figure.value for figure in metric.figures()[:1] if figure.value is not None}
