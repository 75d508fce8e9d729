"""The training objectives, and the distributions of training times."""

from ddbm_cli.objectives.adversarial import Adversarial
from ddbm_cli.objectives.denoising import Denoising, denoising_loss
from ddbm_cli.objectives.objective import Loss, Objective
from ddbm_cli.objectives.reconstruction import Reconstruction
from ddbm_cli.objectives.source import noise_source, signal_left
from ddbm_cli.objectives.times import ArcsineTimes, LogNormalTimes, TimeDistribution, UniformTimes

TIME_DISTRIBUTIONS: dict[str, type[TimeDistribution]] = {
    kind.name: kind for kind in (UniformTimes, ArcsineTimes, LogNormalTimes)
}

OBJECTIVES: dict[str, type[Objective]] = {
    objective.name: objective for objective in (Denoising, Adversarial, Reconstruction)
}

__all__ = [
    "OBJECTIVES",
    "TIME_DISTRIBUTIONS",
    "Adversarial",
    "ArcsineTimes",
    "Denoising",
    "LogNormalTimes",
    "Loss",
    "Objective",
    "Reconstruction",
    "TimeDistribution",
    "UniformTimes",
    "denoising_loss",
    "noise_source",
    "signal_left",
]
