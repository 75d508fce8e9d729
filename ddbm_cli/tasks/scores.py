"""Scores of a comparison's pictures: the metrics of `evaluate` that have a number for each picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ddbm_cli.metrics import METRICS, UNAVAILABLE, PictureMetric
from ddbm_cli.metrics.feed import Item, Unread, feed

AGAINST_TARGETS = ("mse", "psnr", "ssim")
AGAINST_SOURCES = ("edge-f1",)

BATCH_SIZE = 32


def metrics(*, targets: bool) -> list[PictureMetric]:
    """Return the metrics that can be had; those against targets first, if there are any."""
    found = []
    for name in (*(AGAINST_TARGETS if targets else ()), *AGAINST_SOURCES):
        try:
            metric = METRICS[name](torch.device("cpu"))
        except UNAVAILABLE:
            continue
        assert isinstance(metric, PictureMetric)
        found.append(metric)
    return found


def score(
    outputs: Mapping[str, Path], sources: Mapping[str, Path], targets: Mapping[str, Path]
) -> dict[str, dict[str, float]]:
    """Return label -> name -> value, for the outputs that have what the metric needs and a finite value."""
    scores: dict[str, dict[str, float]] = {}
    for metric in metrics(targets=bool(targets)):
        truth, drawn = (targets, {}) if "targets" in metric.needs else ({}, sources)
        names = [name for name in outputs if name in truth or name in drawn]
        items = [
            Item(name=name, output=outputs[name], target=truth.get(name), sketch=drawn.get(name)) for name in names
        ]
        found = {names[place]: value for place, value in _values(metric, items)}
        scores[metric.label] = {name: found[name] for name in names if name in found}
    return scores


def _values(metric: PictureMetric, items: list[Item]) -> Iterator[tuple[int, float]]:
    for batch in feed(items, batch_size=BATCH_SIZE, device=torch.device("cpu"), resize="targets"):
        if not isinstance(batch, Unread):
            pairs = zip(batch.index.tolist(), metric(batch).tolist(), strict=True)
            yield from ((place, value) for place, value in pairs if abs(value) < float("inf"))
