"""The reference process of a bridge, for bridges whose source is noise and is not given to the network.

The source of such a bridge is x_T = alpha_T x_0 + sigma_T z, with z standard normal; on a noise-free path it is
sigma_T z. Then (1) of `base` is a source-free path:

    x_t = (b + alpha_T a) x_0 + sqrt(c^2 + a^2 sigma_T^2) eps          with noise            (1)
    x_t = b x_0 + a sigma_T eps                                         noise-free           (2)

A network without the source estimates x_0 from x_t alone, which is the estimate on this path, not on the bridge: there
the source determines eps, and samplers that keep eps keep to the first draw.
"""

from typing import ClassVar

import torch
from torch import Tensor

from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths.base import Coefficients, ProbabilityPath

BELOW_SOURCE = 1 - 1e-9
"""Fraction of t_max at which slopes at t_max are taken: those of a bridge are infinite there, their product is not."""


@settings
class ReferenceProcess(ProbabilityPath):
    """The source-free path of a bridge from noise."""

    source_free: ClassVar[bool] = True
    ends_at_estimate: ClassVar[bool] = True

    bridge: ProbabilityPath

    def __post_init__(self) -> None:
        """Take the bridge's name, by which default grids are found; the bridge is a checked setting already."""
        object.__setattr__(self, "name", self.bridge.name)
        object.__setattr__(self, "discrete", self.bridge.discrete)

    @property
    def t_max(self) -> float:
        return self.bridge.t_max

    @property
    def t_min(self) -> float:
        return self.bridge.t_min

    @property
    def t_last(self) -> float:
        return self.bridge.t_last

    def before_source(self, gap: float) -> float:
        return self.bridge.before_source(gap)

    def coefficients(self, t: Tensor) -> Coefficients:
        a, b, c = self.bridge.coefficients(t)
        if self.bridge.noise_free:
            return Coefficients(torch.zeros_like(t), b, a * self.bridge.sigma_T)
        noise = (c**2 + (a * self.bridge.sigma_T) ** 2).sqrt()
        return Coefficients(torch.zeros_like(t), b + self.bridge.alpha_T * a, noise)

    def derivatives(self, t: Tensor) -> Coefficients:
        below = t.clamp(max=self.t_max * BELOW_SOURCE)
        (a, _, c), (da, db, dc) = self.bridge.coefficients(below), self.bridge.derivatives(below)
        sigma = self.bridge.sigma_T
        if self.bridge.noise_free:
            return Coefficients(torch.zeros_like(t), db, da * sigma)
        noise = self.coefficients(below).c
        slope = (c * dc + a * da * sigma**2) / noise
        return Coefficients(torch.zeros_like(t), db + self.bridge.alpha_T * da, slope)


def reference(path: ProbabilityPath) -> ProbabilityPath:
    """Return the path on which a network without the source samples; a source-free path is its own."""
    return path if path.source_free else ReferenceProcess(bridge=path)
