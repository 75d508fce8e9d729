"""The Schroedinger bridge between two Gaussian distributions, in closed form (Bunne et al., arXiv:2202.05722).

Of all joint distributions of x_0 ~ N(m_0, S_0) and x_T ~ N(m_T, S_T), that of the Schroedinger bridge is closest to the
reference process, whose transition is x_T | x_0 ~ N(alpha_T x_0, sigma_T^2 I). With eps = sigma_T^2 / alpha_T it is the
Gaussian with

    G = (4 S_0^1/2 S_T S_0^1/2 + eps^2 I)^1/2                                                            (1)
    C = Cov(x_0, x_T) = 1/2 (S_0^1/2 G S_0^-1/2 - eps I) = 2 S_0^1/2 (G + eps I)^-1 S_0^1/2 S_T          (2)

The first form of (2) is the paper's. The second has no inverse of S_0, and no difference of two large numbers. The
off-diagonal block of the joint precision is -I / eps, which defines the bridge. With eps = 0, C = S_0 A is that of the
map of optimal transport between Gaussian distributions (Bures), x_T = m_T + A (x_0 - m_0).

Between the ends, x_t = a x_T + b x_0 + c eps as on every path. So all of x_t, x_0 and x_T is jointly Gaussian:

    m_t = a m_T + b m_0,   S_t = a^2 S_T + b^2 S_0 + a b (C + C^T) + c^2 I                               (3)
    E[x_0 | x_t] = m_0 + (b S_0 + a C) S_t^-1 (x_t - m_t)                                                (4)
    E[x_T | x_t] = m_T + (a S_T + b C^T) S_t^-1 (x_t - m_t)                                              (5)

(4) is what a network that does not get the source should estimate, and the drifts of SDE and ODE follow from (4), (5).
All numbers are float64; points are (..., d).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from ddbm_cli.paths.base import ProbabilityPath

NULL = 1e-12
"""Eigenvalues below this fraction of the largest count as 0."""


def root_of(matrix: Tensor, *, inverse: bool = False) -> Tensor:
    """Return the square root (d, d) of a positive semi-definite matrix, or its (pseudo-)inverse."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > NULL * values.abs().max()
    scaled = torch.where(kept, values.clamp(min=0), 1.0).pow(-0.5 if inverse else 0.5) * kept
    root: Tensor = (vectors * scaled) @ vectors.T
    return root


def coupling_of(first: Tensor, second: Tensor, epsilon: float = 0.0) -> Tensor:
    """Return C = Cov(x_0, x_T), equation (2), (d, d) float64.

    Args:
        first, second: covariances (d, d) of x_0 and x_T.
        epsilon: variance of the reference process, sigma_T^2 / alpha_T; 0 for optimal transport.
    """
    root, one = root_of(first), torch.eye(len(first), dtype=first.dtype)
    inner = root_of(4 * root @ second @ root + epsilon**2 * one)
    inverse: Tensor = torch.linalg.pinv(inner + epsilon * one, rtol=NULL, hermitian=True)
    return 2 * root @ inverse @ root @ second


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A Gaussian distribution: mean (d,), covariance (d, d), float64."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Self:
        """Return the distribution with mean and covariance (by N, not N - 1) of points (N, d)."""
        points = points.double()
        mean = points.mean(0)
        return cls(mean, (points - mean).T @ (points - mean) / len(points))

    def draw(self, number: int, generator: torch.Generator | None = None) -> Tensor:
        """Return points (number, d)."""
        noise = torch.randn(number, len(self.mean), dtype=torch.float64, generator=generator)
        return self.mean + noise @ root_of(self.covariance)


@dataclass(frozen=True, eq=False)
class AffineMap:
    """x -> target + matrix (x - source), for points (..., d)."""

    matrix: Tensor
    source: Tensor
    target: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        return self.target + (points - self.source) @ self.matrix.T

    def between(self, a: Tensor, b: Tensor) -> "AffineMap":
        """Return the map from points a x + b y, of the way from x to y = self(x), to y; a, b: 0-d, a > 0."""
        way = a * torch.eye(len(self.matrix), dtype=self.matrix.dtype) + b * self.matrix
        matrix = torch.linalg.solve(way.T, self.matrix.T).T
        return AffineMap(matrix, a * self.source + b * self.target, self.target)


def transport(source: Gaussian, target: Gaussian) -> AffineMap:
    """Return the map of optimal transport between two Gaussian distributions (Bures).

    What it makes of `source` has exactly mean and covariance of `target`, if the covariance of `source` has full rank;
    otherwise directions in which the source does not vary stay without variation.
    """
    root, inverse = root_of(source.covariance), root_of(source.covariance, inverse=True)
    return AffineMap(inverse @ root_of(root @ target.covariance @ root) @ inverse, source.mean, target.mean)


@dataclass(frozen=True, eq=False)
class GaussianBridge:
    """The Schroedinger bridge on a path from `source` (x_T, at t_max) to `target` (x_0, at 0).

    Times are 0-d float64 tensors, 0 < t < t_max where drifts are asked for.
    """

    path: ProbabilityPath
    target: Gaussian
    source: Gaussian

    @property
    def epsilon(self) -> float:
        """The variance of the reference, sigma_T^2 / alpha_T; 0 on a noise-free path."""
        return 0.0 if self.path.noise_free else float(self.path.sigma_T) ** 2 / float(self.path.alpha_T)

    @cached_property
    def coupling(self) -> Tensor:
        """C = Cov(x_0, x_T), (d, d)."""
        return coupling_of(self.target.covariance, self.source.covariance, self.epsilon)

    @property
    def joint(self) -> Gaussian:
        """The distribution of (x_0, x_T), of 2 d numbers."""
        rows = [
            torch.cat([self.target.covariance, self.coupling], 1),
            torch.cat([self.coupling.T, self.source.covariance], 1),
        ]
        return Gaussian(torch.cat([self.target.mean, self.source.mean]), torch.cat(rows))

    def backward(self) -> "GaussianBridge":
        """Return the bridge from `target` to `source`, on the same path with the roles of the two exchanged."""
        return GaussianBridge(self.path, target=self.source, source=self.target)

    def marginal(self, t: Tensor) -> Gaussian:
        """Return the distribution of x_t, equation (3)."""
        a, b, c = self.path.coefficients(t)
        cross = a * b * (self.coupling + self.coupling.T)
        noise = c**2 * torch.eye(len(self.target.mean), dtype=torch.float64)
        covariance = a**2 * self.source.covariance + b**2 * self.target.covariance + cross + noise
        return Gaussian(a * self.source.mean + b * self.target.mean, covariance)

    def estimate(self, x: Tensor, t: Tensor) -> Tensor:
        """Return E[x_0 | x_t], equation (4), of points (..., d)."""
        a, b, _ = self.path.coefficients(t)
        return self._conditional(x, t, self.target.mean, b * self.target.covariance + a * self.coupling)

    def estimate_source(self, x: Tensor, t: Tensor) -> Tensor:
        """Return E[x_T | x_t], equation (5), of points (..., d)."""
        a, b, _ = self.path.coefficients(t)
        return self._conditional(x, t, self.source.mean, a * self.source.covariance + b * self.coupling.T)

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the drift d x / d t of the SDE that goes from `source` to `target`, with falling t.

        Its diffusion is `path.diffusion_squared`. On a Brownian path it is (x - E[x_0 | x_t]) / t.
        """
        return self.path.reverse_drift(x, self.estimate(x, t), self.estimate_source(x, t), t)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the drift d x / d t of the probability-flow ODE, which has the same marginals in both directions."""
        return self.path.velocity(x, self.estimate(x, t), self.estimate_source(x, t), t)

    def denoise(self, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        """Return E[x_0 | x_t] of states (B, C, H, W) with C H W = d: what samplers take in place of a network."""
        return self.estimate(x.double().flatten(1), t).view(x.shape).to(x.dtype)

    def _conditional(self, x: Tensor, t: Tensor, mean: Tensor, cross: Tensor) -> Tensor:
        at = self.marginal(t)
        matrix: Tensor = cross @ torch.linalg.pinv(at.covariance, rtol=NULL, hermitian=True)
        return mean + (x.double() - at.mean) @ matrix.T
