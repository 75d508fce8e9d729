"""Gaussian pairs, for which every path has an exact answer; and a mixture, whose estimates are exact.

Target and source are N(mean, std^2) with a covariance, each pixel for itself. Given the source the target is
N(mu, v), the state at t is N(a x_T + b mu, b^2 v + c^2), the best estimate of the target is linear in the state, and
the probability-flow ODE moves a state so that its standardised value stays the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ddbm_cli.paths import ProbabilityPath


@dataclass(frozen=True)
class GaussianPairs:
    path: ProbabilityPath
    mean: float = 0.3
    std: float = 0.5
    source_mean: float = -0.1
    source_std: float = 0.6
    cov: float = 0.12

    def target_given(self, source: Tensor) -> tuple[Tensor, float]:
        """Mean and variance of the target for a source."""
        slope = self.cov / self.source_std**2
        return self.mean + slope * (source - self.source_mean), self.std**2 - slope * self.cov

    def marginal(self, t: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the state at t for a source."""
        a, b, c = self.path.coefficients(t)
        mu, v = self.target_given(source)
        return a * source + b * mu, (b**2 * v + c**2).sqrt()

    def denoise(self, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        """The mean of the target for a state and a source."""
        _, b, _ = self.path.coefficients(t)
        mu, v = self.target_given(source)
        mean, std = self.marginal(t, source)
        return mu + (b * v / std**2 if std > 0 else 0.0) * (x - mean)

    def flow(self, x: Tensor, t: Tensor, s: Tensor, source: Tensor) -> Tensor:
        """Where the ODE takes a state from t to s."""
        (mean, std), (mean_s, std_s) = self.marginal(t, source), self.marginal(s, source)
        return mean_s + std_s / std * (x - mean)

    def sources(self, *shape: int) -> Tensor:
        """Draw sources, float64."""
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        return self.source_mean + self.source_std * noise


@dataclass(frozen=True)
class MixturePairs:
    """Each pixel of a target is from one of three Gaussians, whose probabilities depend on the source."""

    path: ProbabilityPath
    std: float = 0.2
    means: tuple[float, ...] = (-0.8, 0.1, 0.8)

    def denoise(self, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        """The mean of the target for a state and a source."""
        values = torch.tensor(self.means, dtype=torch.float64).view(-1, 1, 1, 1, 1)
        a, b, c = self.path.coefficients(t)
        spread = b**2 * self.std**2 + c**2
        left = x - a * source - b * values
        weights = torch.softmax(-((values - 0.8 * source) ** 2) - left**2 / (2 * spread), 0)
        return (weights * (values + b * self.std**2 / spread * left)).sum(0)
