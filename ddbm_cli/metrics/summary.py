"""One figure from the values of all images: the mean and its confidence interval."""

import numpy as np
from numpy.typing import NDArray

from ddbm_cli.metrics.base import Figure, PictureMetric

RESAMPLES = 1000
LEVEL = 0.95


def interval(values: NDArray[np.float64], *, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the 95 % bootstrap confidence interval of the mean (percentile method); it depends on the seed alone.

    Args:
        values: (N,), one of each image. Each resample draws N images with replacement.
    """
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def summarise(metric: PictureMetric, values: NDArray[np.float64], *, seed: int) -> Figure:
    """Return the figure of a metric from its values (N,); values that are not finite are left out and counted."""
    finite = values[np.isfinite(values)]
    left_out = len(values) - len(finite)
    low, high = interval(finite, seed=seed) if len(finite) > 1 else (None, None)
    return Figure(
        name=metric.name,
        label=metric.label,
        value=float(finite.mean()) if len(finite) else None,
        low=low,
        high=high,
        count=len(finite),
        higher_is_better=metric.higher_is_better,
        recipe=metric.recipe,
        note=f"{left_out} {metric.unmeasured}" if left_out else "",
    )
