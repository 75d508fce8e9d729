"""What training minimises, and at which times."""

from ddbm_cli.objectives.denoising import denoising_loss
from ddbm_cli.objectives.times import ArcsineTimes, LogNormalTimes, TimeDistribution, UniformTimes

TIME_DISTRIBUTIONS: dict[str, type[TimeDistribution]] = {
    law.name: law for law in (UniformTimes, ArcsineTimes, LogNormalTimes)
}

__all__ = ["TIME_DISTRIBUTIONS", "ArcsineTimes", "LogNormalTimes", "TimeDistribution", "UniformTimes", "denoising_loss"]
