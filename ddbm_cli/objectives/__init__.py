"""What training minimises, and at which times."""

from ddbm_cli.objectives.adversarial import Adversarial
from ddbm_cli.objectives.denoising import Denoising, denoising_loss
from ddbm_cli.objectives.objective import Loss, Objective
from ddbm_cli.objectives.times import ArcsineTimes, LogNormalTimes, TimeDistribution, UniformTimes

TIME_DISTRIBUTIONS: dict[str, type[TimeDistribution]] = {
    law.name: law for law in (UniformTimes, ArcsineTimes, LogNormalTimes)
}

OBJECTIVES: dict[str, type[Objective]] = {objective.name: objective for objective in (Denoising, Adversarial)}

__all__ = [
    "OBJECTIVES",
    "TIME_DISTRIBUTIONS",
    "Adversarial",
    "ArcsineTimes",
    "Denoising",
    "LogNormalTimes",
    "Loss",
    "Objective",
    "TimeDistribution",
    "UniformTimes",
    "denoising_loss",
]
