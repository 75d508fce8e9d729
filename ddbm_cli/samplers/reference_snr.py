"""lambda of the reference process, in which DBMSolver expands estimates of the target (arXiv:2605.05889).

The reference process x_t = alpha x_0 + sigma eps of a bridge has lambda = log(alpha / sigma). With lambda_T its value
at the source, and alpha_T as in `paths.base`,

    m = sqrt(b / (alpha_T a)) = sqrt(exp(2 (lambda - lambda_T)) - 1)                                       (1)

and b / c is a multiple of m, if c^2 is a multiple of a b. The deterministic bridge is, exactly,

    x_s = (c_s / c_t) x_t + (a_s - a_t c_s / c_t) x_T + (b_s / m_s) * integral of x0 dm over the step      (2)

so that estimates linear in lambda have a closed form: the integral of lambda dm is m lambda - m + arctan m.
Where a = 0 everywhere, lambda is log(b / c) and m is b / c.
"""

import numpy as np
import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import ProbabilityPath

CONSTANT = 1e-6
"""Largest relative change of c^2 / (a b) over time that counts as none."""

NODES = 48
"""Nodes of the Gauss-Legendre quadrature of second moments; its relative error is below 1e-12 for steps up to 12."""


def check_reference(path: ProbabilityPath, name: str, hint: str) -> None:
    """Check that a path has the lambda of a reference process.

    Args:
        name: the sampler, with the setting that needs it. hint: what to use instead.

    Raises:
        UsageError: c^2 is not a multiple of a b.
    """
    if path.source_free or path.noise_free:
        return
    a, b, c = path.coefficients(torch.linspace(0.1, 0.9, 9, dtype=torch.float64) * path.t_max)
    ratio = c**2 / (a * b)
    if not bool((ratio / ratio[4] - 1).abs().max() <= CONSTANT):
        raise UsageError(
            f"sampler '{name}' needs a path with c^2 proportional to a b, and '{path.name}' is none", hint=hint
        )


def root(path: ProbabilityPath, t: Tensor) -> Tensor:
    """Return m of (1), 0 at the source; b / c where there is no source."""
    a, b, c = path.coefficients(t)
    return b / c if path.source_free else (b / (path.alpha_T * a)).sqrt()


def level(path: ProbabilityPath, m: Tensor) -> Tensor:
    """Return lambda - lambda_T of an m; lambda where there is no source."""
    return m.log() if path.source_free else torch.log1p(m**2) / 2


def time_of_level(path: ProbabilityPath, wanted: Tensor, near: Tensor) -> Tensor:
    """Return the time where `level` is `wanted`; `near` is any time with noise."""
    m = wanted.exp() if path.source_free else torch.expm1(2 * wanted).sqrt()
    return path.time_at(path.log_snr(near) + 2 * (m.log() - root(path, near).log()))


def first_moment(path: ProbabilityPath, t: Tensor, s: Tensor) -> Tensor:
    """Return 1 / m_s times the integral of (lambda - lambda_t) dm from t to s."""
    m_t, m_s = root(path, t), root(path, s)
    h = level(path, m_s) - level(path, m_t)
    if path.source_free:
        return h + torch.expm1(-h)
    return h - 1 + m_t / m_s + (m_s.atan() - m_t.atan()) / m_s


def second_moment(path: ProbabilityPath, t: Tensor, s: Tensor) -> Tensor:
    """Return 1 / m_s times the integral of (lambda - lambda_t)^2 / 2 dm from t to s, by quadrature in log m."""
    m_t, m_s = root(path, t), root(path, s)
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(NODES))
    half = (m_s.log() - m_t.log()) / 2
    m = torch.exp((m_s.log() + m_t.log()) / 2 + half * nodes)
    powers = (level(path, m) - level(path, m_t)) ** 2 / 2
    return half * (weights * powers * m).sum() / m_s
