"""CMMD (arXiv:2401.09603): the distance of two sets of images by CLIP's embeddings, without a Gaussian's assumption.

    CMMD = 1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)),    k(x, y) = exp(-|x - y|^2 / (2 sigma^2))      (1)

over all pairs of unit embeddings of outputs and of targets, sigma = 10.
"""

import torch
from torch import Tensor

from ddbm_cli.metrics import clip
from ddbm_cli.metrics.base import Figure, SetMetric, Side
from ddbm_cli.metrics.cache import FeatureCache
from ddbm_cli.metrics.sample import Sample
from ddbm_cli.registry.folders import cache_folder

SIGMA, SCALE = 10.0, 1000.0
MOST = 20_000
"""Largest number of images of a set, evenly spread over all: this bounds memory."""

ROWS = 1024


class CMMD(SetMetric):
    """Maximum mean discrepancy of CLIP's embeddings."""

    name = "cmmd"
    label = "CMMD"
    recipe = f"{clip.ENCODER}, {clip.RESIZED}, sigma {SIGMA:g}, times {SCALE:g}; biased estimate"

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        self._embed = clip.ImageEncoder(device, self.label, clip.ENCODER)
        file = cache_folder() / "features" / f"{clip.ENCODER.rpartition('/')[2]}-{device.type}.sqlite"
        self._of_targets = FeatureCache(self._embed, file, width=self._embed.width)
        self._embeddings: dict[Side, Sample] = {"outputs": Sample(MOST), "targets": Sample(MOST)}

    def add(self, side: Side, index: Tensor, images: Tensor) -> None:
        self._embeddings[side].add(index, (self._embed if side == "outputs" else self._of_targets)(images))

    def figures(self) -> list[Figure]:
        outputs, targets = self._embeddings.values()
        count = len(outputs)
        value = discrepancy(outputs.parts[0], targets.parts[0]) if count and len(targets) else None
        return [
            Figure(
                name=self.name, label=self.label, value=value, count=count, higher_is_better=False, recipe=self.recipe
            )
        ]


def discrepancy(outputs: Tensor, targets: Tensor) -> float:
    """Return (1) for unit embeddings (N, D) and (M, D), computed in float64 and in memory that is linear in N and M."""
    first, second = outputs.double(), targets.double()
    value = _similarity(first, first) + _similarity(second, second) - 2 * _similarity(first, second)
    return SCALE * float(value)


def _similarity(first: Tensor, second: Tensor) -> float:
    parts = (torch.cdist(rows, second).square() for rows in torch.split(first, ROWS))
    return sum(float((-part / (2 * SIGMA**2)).exp().sum()) for part in parts) / (len(first) * len(second))
