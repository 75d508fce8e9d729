"""From a network's output to an estimate of the target."""

from ddbm_cli.denoisers.conditions import NO_CONDITIONS, NO_LABEL, Conditions, dropped
from ddbm_cli.denoisers.denoiser import Denoise, Denoiser, clipped, kept
from ddbm_cli.denoisers.fit import check_prediction
from ddbm_cli.denoisers.guidance import PLAIN, Guidance, guided
from ddbm_cli.denoisers.perturbed import PERTURBATIONS, Perturbation, perturbed
from ddbm_cli.denoisers.preconditioned import Preconditioned
from ddbm_cli.denoisers.prediction import (
    DiffusionPrediction,
    DriftPrediction,
    I2SBPrediction,
    NoisePrediction,
    Prediction,
    ResidualPrediction,
    Scalings,
    TargetPrediction,
    VelocityPrediction,
    VPrediction,
)

PREDICTIONS: dict[str, type[Prediction]] = {
    prediction.name: prediction
    for prediction in (
        Preconditioned,
        TargetPrediction,
        NoisePrediction,
        VPrediction,
        VelocityPrediction,
        ResidualPrediction,
        DriftPrediction,
        DiffusionPrediction,
        I2SBPrediction,
    )
}

__all__ = [
    "NO_CONDITIONS",
    "NO_LABEL",
    "PERTURBATIONS",
    "PLAIN",
    "PREDICTIONS",
    "Conditions",
    "Denoise",
    "Denoiser",
    "DiffusionPrediction",
    "DriftPrediction",
    "Guidance",
    "I2SBPrediction",
    "NoisePrediction",
    "Perturbation",
    "Preconditioned",
    "Prediction",
    "ResidualPrediction",
    "Scalings",
    "TargetPrediction",
    "VPrediction",
    "VelocityPrediction",
    "check_prediction",
    "clipped",
    "dropped",
    "guided",
    "kept",
    "perturbed",
]
