"""Metrics: of an image against its target, and of one set of images against another.

Pixel errors need torch and NumPy only; the others need torchmetrics and torch-fidelity (the extra `eval`).
"""

from ddbm_cli.foundation import plugins
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.metrics.base import Batch, Figure, Metric, MissingExtraError, PictureMetric, SetMetric
from ddbm_cli.metrics.cmmd import CMMD
from ddbm_cli.metrics.cycle import CycleError, SourceDistance
from ddbm_cli.metrics.diversity import PixelDiversity
from ddbm_cli.metrics.edges import EdgeF1
from ddbm_cli.metrics.inception import AFD, FID, CleanFID
from ddbm_cli.metrics.likelihood import Likelihood
from ddbm_cli.metrics.perceptual import DISTS, LPIPS
from ddbm_cli.metrics.pixels import L1, MSE, MSSSIM, PSNR, SSIM
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.metrics.summary import interval, summarise
from ddbm_cli.metrics.weights import MissingWeightsError

UNAVAILABLE: tuple[type[DdbmError], ...] = (MissingExtraError, MissingWeightsError)
"""Errors for which a metric is skipped and reported."""

_ALL = (
    MSE,
    L1,
    PSNR,
    SSIM,
    MSSSIM,
    LPIPS,
    DISTS,
    FID,
    CleanFID,
    CMMD,
    SlicedWasserstein,
    PixelDiversity,
    AFD,
    EdgeF1,
    Likelihood,
    SourceDistance,
    CycleError,
)


class _Metrics(dict[str, type[Metric]]):
    """Metrics by name; a name that is missing is looked up among installed packages."""

    def __missing__(self, name: str) -> type[Metric]:
        found = plugins.find("metrics", name)
        if found is None:
            raise KeyError(name)
        return found


METRICS: dict[str, type[Metric]] = _Metrics({metric.name: metric for metric in _ALL})

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
