"""Paths x_t = a x_T + b x_0 + c eps between a source and a target; see `base` for the mathematics."""

from ddbm_cli.paths.base import Coefficients, ProbabilityPath
from ddbm_cli.paths.brownian import BrownianBridge
from ddbm_cli.paths.ddbm import VEBridge, VPBridge
from ddbm_cli.paths.ddpm import DDPM, Betas
from ddbm_cli.paths.diffusion import VE, VP, Cosine
from ddbm_cli.paths.i2sb import I2SBBridge
from ddbm_cli.paths.rectified import RectifiedFlow
from ddbm_cli.paths.reference import ReferenceProcess, reference

PATHS: dict[str, type[ProbabilityPath]] = {
    path.name: path for path in (VPBridge, VEBridge, BrownianBridge, I2SBBridge, RectifiedFlow, VE, VP, Cosine, DDPM)
}

__all__ = [
    "DDPM",
    "PATHS",
    "VE",
    "VP",
    "Betas",
    "BrownianBridge",
    "Coefficients",
    "Cosine",
    "I2SBBridge",
    "ProbabilityPath",
    "RectifiedFlow",
    "ReferenceProcess",
    "VEBridge",
    "VPBridge",
    "reference",
]
