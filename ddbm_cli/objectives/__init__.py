"""The training objectives, and the distributions of training times."""

from ddbm_cli.objectives.adversarial import Adversarial
from ddbm_cli.objectives.consistency import ConsistencyDistillation, ConsistencyTraining
from ddbm_cli.objectives.denoising import Denoising, denoising_loss
from ddbm_cli.objectives.latent_bridge import LatentBridgeMatching
from ddbm_cli.objectives.matching import InverseBridgeMatching, RealUID
from ddbm_cli.objectives.objective import Context, Loss, Objective, Share
from ddbm_cli.objectives.reconstruction import Reconstruction
from ddbm_cli.objectives.source import noise_source, signal_left
from ddbm_cli.objectives.times import ArcsineTimes, DiscreteTimes, LogNormalTimes, TimeDistribution, UniformTimes

TIME_DISTRIBUTIONS: dict[str, type[TimeDistribution]] = {
    kind.name: kind for kind in (UniformTimes, ArcsineTimes, LogNormalTimes, DiscreteTimes)
}

OBJECTIVES: dict[str, type[Objective]] = {
    objective.name: objective for objective in (Denoising, Adversarial, Reconstruction, LatentBridgeMatching)
}
METHODS: dict[str, type[Objective]] = {
    method.name: method for method in (ConsistencyDistillation, ConsistencyTraining, InverseBridgeMatching, RealUID)
}
"""The objectives of distillation."""


__all__ = [
    "METHODS",
    "OBJECTIVES",
    "TIME_DISTRIBUTIONS",
    "Adversarial",
    "ArcsineTimes",
    "ConsistencyDistillation",
    "ConsistencyTraining",
    "Context",
    "Denoising",
    "DiscreteTimes",
    "InverseBridgeMatching",
    "LatentBridgeMatching",
    "LogNormalTimes",
    "Loss",
    "Objective",
    "RealUID",
    "Reconstruction",
    "Share",
    "TimeDistribution",
    "UniformTimes",
    "denoising_loss",
    "noise_source",
    "signal_left",
]
