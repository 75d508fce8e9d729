"""How good outputs are: metrics of picture against target, and of one set of pictures against another.

Torch and NumPy alone give the errors; torchmetrics and torch-fidelity (the extra `eval`) whatever they have.
"""

from ddbm_cli.metrics.base import UNAVAILABLE, Batch, Figure, Metric, PictureMetric, SetMetric
from ddbm_cli.metrics.diversity import PixelDiversity
from ddbm_cli.metrics.edges import EdgeF1
from ddbm_cli.metrics.pixels import L1, MSE, MSSSIM, PSNR, SSIM
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.metrics.summary import interval, summarise

METRICS: dict[str, type[Metric]] = {
    metric.name: metric for metric in (MSE, L1, PSNR, SSIM, MSSSIM, SlicedWasserstein, PixelDiversity, EdgeF1)
}

__all__ = [
    "METRICS",
    "UNAVAILABLE",
    "Batch",
    "Figure",
    "Metric",
    "PictureMetric",
    "SetMetric",
    "interval",
    "summarise",
]
