"""LPIPS of a validation, where its network can be used: downloaded before, and with its libraries."""

import torch
from torch import Tensor

from ddbm_cli.metrics.base import Batch, MissingExtraError
from ddbm_cli.metrics.perceptual import LPIPS, LPIPS_LEAST
from ddbm_cli.metrics.weights import ALEXNET, MissingWeightsError


def lpips_of(side: int, device: torch.device) -> LPIPS | None:
    """Return LPIPS for images whose shorter side has so many pixels; None where it cannot be computed.

    Nothing is downloaded, and its libraries are imported only where the weights are there.
    """
    if side < LPIPS_LEAST or not ALEXNET.path.is_file():
        return None
    try:
        return LPIPS(device)
    except (MissingWeightsError, MissingExtraError):
        return None


def mean_of(metric: LPIPS, results: Tensor, targets: Tensor) -> float:
    """Return the mean over images (N, 3, H, W) in -1..1."""
    outputs, wanted = (((side + 1) * 127.5).round().byte().to(metric.device) for side in (results, targets))
    values = metric(Batch(index=torch.arange(len(outputs)), outputs=outputs, targets=wanted))
    return float(values.mean())
