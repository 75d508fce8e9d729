"""From a network's output to an estimate of the target picture."""

from ddbm_cli.denoisers.denoiser import Denoise, Denoiser, clipped
from ddbm_cli.denoisers.prediction import (
    AnglePrediction,
    I2SBPrediction,
    NoisePrediction,
    Preconditioned,
    Prediction,
    ResidualPrediction,
    Scalings,
    TargetPrediction,
    VelocityPrediction,
)

PREDICTIONS: dict[str, type[Prediction]] = {
    prediction.name: prediction
    for prediction in (
        Preconditioned,
        TargetPrediction,
        NoisePrediction,
        AnglePrediction,
        VelocityPrediction,
        ResidualPrediction,
        I2SBPrediction,
    )
}

__all__ = [
    "PREDICTIONS",
    "AnglePrediction",
    "Denoise",
    "Denoiser",
    "I2SBPrediction",
    "NoisePrediction",
    "Preconditioned",
    "Prediction",
    "ResidualPrediction",
    "Scalings",
    "TargetPrediction",
    "VelocityPrediction",
    "clipped",
]
