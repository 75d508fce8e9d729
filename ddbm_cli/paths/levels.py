"""Paths whose time is a noise level: sigma_t = t."""

from typing import Annotated

from pydantic import Field

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import ProbabilityPath


@settings
class NoiseLevels(ProbabilityPath):
    """Base of paths with sigma_t = t, from `sigma_max` to `sigma_min`.

    sigma_max: the largest noise level, equal to its time; 80 in the papers for images in -1..1.
    sigma_min: the noise level where sampling may stop; 0.002 for sigma_max 80.
    """

    sigma_max: Annotated[float, Field(gt=0)] = 80.0
    sigma_min: Annotated[float, Field(gt=0)] = 0.002

    @property
    def t_max(self) -> float:
        return self.sigma_max

    @property
    def t_min(self) -> float:
        return self.sigma_min
