"""Exact likelihood of a prior, by the probability-flow ODE (arXiv:2011.13456, sec. 4.3; arXiv:1810.01367).

On a source-free path, y = x / b is the image plus noise of level sigma = c / b, and its ODE is EDM's. Along it

    dy / d log sigma = y - D,     D(y, sigma) the estimate of the image                                 (1)
    d log p(y) / d log sigma = div D - n,     n the number of values of an image                        (2)

so log p of the image is that of the noise at its end, minus the integral of (2). Both are integrated by the classical
Runge-Kutta method of order 4 on equal steps of log sigma. The divergence is Hutchinson's estimate

    div D = E[e^T (dD/dy) e],     e of mean 0 and variance 1                                            (3)

without bias, with new probes e at every evaluation, so that their error averages out over the steps. The image is
taken as a state of the path's least noise, `t_min`.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ddbm_cli.denoisers import Denoise
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers.base import Noise
from ddbm_cli.samplers.times import LogSNR

Probe = Literal["rademacher", "gaussian"]
PROBES: dict[Probe, Callable[[Tensor], Tensor]] = {
    "rademacher": lambda noise: torch.where(noise < 0, -1.0, 1.0).to(noise),
    "gaussian": lambda noise: noise,
}
"""From standard noise to e of (3). Signs have the smaller variance; both are unbiased."""


STEPS = 96
"""Default number of steps; on exact Gaussians the mean is then less than 0.001 bits per dimension too low."""


def log_likelihood(
    denoise: Denoise,
    path: ProbabilityPath,
    x: Tensor,
    noise: Noise,
    *,
    steps: int = STEPS,
    probe: Probe = "rademacher",
    probes: int = 1,
) -> Tensor:
    """Return log p(x), natural logarithm, float64 (B,).

    Args:
        denoise: differentiable in its first argument, not clipped.
        path: a source-free one.
        x: images (B, C, H, W), continuous values, about -1..1.
        noise: draws the probes.
        steps: of the ODE, two evaluations and their gradients each; an odd number is rounded up.
        probe: kind of the probes. probes: their number at each evaluation, a gradient each.

    Raises:
        UsageError: the path has a source, whose distribution is not known.
    """
    if not path.source_free:
        raise UsageError(
            f"path '{path.name}' has a source, and a likelihood needs a prior", hint="pass a model on ve, vp or cosine"
        )
    pairs = math.ceil(steps / 2)
    times = LogSNR(gap=1e-3 * path.t_max, t_min=path.t_min).times(path, 2 * pairs).flip(0)
    blank, values = torch.zeros_like(x), x[0].numel()
    zero = torch.zeros(len(x), dtype=torch.float64)

    def slopes(y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slopes (1) and (2) of y and of its log-density by log sigma."""
        divergence = zero.clone()
        with torch.enable_grad():
            leaf = y.detach().requires_grad_()
            estimate = denoise((path.coefficients(t).b * leaf).to(x.dtype), t, blank)
            for left in reversed(range(probes)):
                e = PROBES[probe](noise(y))
                (pulled,) = torch.autograd.grad(estimate, leaf, e.to(estimate), retain_graph=left > 0)
                divergence += (e * pulled).flatten(1).sum(1).double().cpu() / probes
        return y - estimate.detach().to(y), divergence - values

    y, change = x / path.coefficients(times[0]).b, zero
    levels = -path.log_snr(times) / 2  # log sigma
    for index in range(0, 2 * pairs, 2):
        t, middle, s = times[index : index + 3]
        h = levels[index + 2] - levels[index]
        first, rate_1 = slopes(y, t)
        second, rate_2 = slopes(y + h / 2 * first, middle)
        third, rate_3 = slopes(y + h / 2 * second, middle)
        fourth, rate_4 = slopes(y + h * third, s)
        y = y + h / 6 * (first + 2 * second + 2 * third + fourth)
        change = change + h / 6 * (rate_1 + 2 * rate_2 + 2 * rate_3 + rate_4)
    energy = (y.double() ** 2).flatten(1).sum(1).cpu() / (2 * torch.exp(2 * levels[-1]))
    noise_like = -energy - values * (0.5 * math.log(2 * math.pi) + levels[-1])
    return noise_like - change - values * path.coefficients(times[0]).b.log()
