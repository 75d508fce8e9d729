"""The perceptual distance of a validation, by a network that can be used: nothing is downloaded for it.

That is LPIPS where its network was downloaded before, as `ddbm evaluate` measures it, or else ST-LPIPS, whose weights
come with a package (see `networks.perceptual`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.metrics.base import Batch, MissingExtraError
from ddbm_cli.metrics.perceptual import LPIPS, LPIPS_LEAST
from ddbm_cli.metrics.weights import ALEXNET, MissingWeightsError
from ddbm_cli.networks.perceptual import LEAST, load_perceptual_distance

AT_ONCE = 16
"""Images that ST-LPIPS is computed on at once."""

Measure = Callable[[Tensor, Tensor], float]
"""The mean distance of results to targets, images (N, 3, H, W) in -1..1."""


def distances_of(side: int, device: torch.device) -> dict[str, Measure]:
    """Return what can be measured of images whose shorter side has so many pixels, by name: one distance, or none.

    Libraries are imported only where the weights are there.
    """
    if side >= LPIPS_LEAST and ALEXNET.path.is_file():
        try:
            metric = LPIPS(device)
            return {"lpips": lambda results, targets: _mean_of(metric, results, targets)}
        except (MissingWeightsError, MissingExtraError):
            pass
    if side < LEAST:
        return {}
    try:
        network = load_perceptual_distance(device)
    except UsageError:
        return {}

    @torch.inference_mode()
    def mean(results: Tensor, targets: Tensor) -> float:
        parts = zip(torch.split(results, AT_ONCE), torch.split(targets, AT_ONCE), strict=True)
        return float(torch.cat([network(*(side.to(device) for side in part)) for part in parts]).mean())

    return {"st_lpips": mean}


def _mean_of(metric: LPIPS, results: Tensor, targets: Tensor) -> float:
    outputs, wanted = (((side + 1) * 127.5).round().byte().to(metric.device) for side in (results, targets))
    values = metric(Batch(index=torch.arange(len(outputs)), outputs=outputs, targets=wanted))
    return float(values.mean())
