"""Exact likelihood of a prior, by the probability-flow ODE (arXiv:2011.13456, sec. 4.3; arXiv:1810.01367).

On a source-free path, y = x / b is the picture plus noise of level sigma = c / b, and its ODE is EDM's. Along it

    dy / d sigma = (y - D) / sigma,     D(y, sigma) the estimate of the picture                         (1)
    d log p(y) / d log sigma = -(n - div D),     n the number of values of a picture                    (2)

so log p at the picture is that of the noise it becomes, plus the integral of (2), here by Heun's method for (1) and
the trapezoid rule for (2) on equal steps of log sigma. The divergence is Hutchinson's estimate

    div D = E[e^T (dD/dy) e],     e of mean 0 and variance 1                                            (3)

without bias, with new probes e at every evaluation, so that their error averages out over the steps. Only D's own
part is estimated; n is exact. The picture is taken as a state of the path's least noise, `t_min`.
"""

import math
from collections.abc import Callable
from itertools import pairwise
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
"""From standard noise to e of (3). Signs alone have the smaller error; both are right in the mean."""


def log_likelihood(
    denoise: Denoise,
    path: ProbabilityPath,
    x: Tensor,
    noise: Noise,
    *,
    steps: int = 64,
    probe: Probe = "rademacher",
    probes: int = 1,
) -> Tensor:
    """Return log p(x), natural logarithm, float64 (B,).

    Args:
        denoise: differentiable in its first argument, not clipped.
        path: a source-free one.
        x: pictures (B, C, H, W), continuous values in about -1..1.
        noise: draws the probes.
        steps: of the ODE, two evaluations and their gradients each; the error falls with their square.
        probe: kind of the probes. probes: their number at each evaluation; a gradient each.

    Raises:
        UsageError: the path has a source, whose law is not known.
    """
    if not path.source_free:
        raise UsageError(
            f"path '{path.name}' has a source, and a likelihood needs a prior", hint="name a model on ve, vp or cosine"
        )
    times = LogSNR(gap=1e-3 * path.t_max).times(path, steps).flip(0)
    blank, values = torch.zeros_like(x), x[0].numel()

    def look(y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return D and n - div D at y."""
        divergence = torch.zeros(len(y), dtype=torch.float64)
        with torch.enable_grad():
            leaf = y.detach().requires_grad_()
            estimate = denoise((path.coefficients(t).b * leaf).to(x.dtype), t, blank)
            for left in reversed(range(probes)):
                e = PROBES[probe](noise(y))
                (pulled,) = torch.autograd.grad(estimate, leaf, e.to(estimate), retain_graph=left > 0)
                divergence += (e * pulled).flatten(1).sum(1).double().cpu() / probes
        return estimate.detach().to(y), values - divergence

    y = x / path.coefficients(times[0]).b
    gained = torch.zeros(len(x), dtype=torch.float64)
    sigmas = torch.exp(-path.log_snr(times) / 2)
    for (t, s), (now, then) in zip(pairwise(times), pairwise(sigmas), strict=True):
        estimate, rate = look(y, t)
        slope = (y - estimate) / now
        end = y + (then - now) * slope
        estimate, rate_end = look(end, s)
        y = y + (then - now) * (slope + (end - estimate) / then) / 2
        gained += (rate + rate_end) / 2 * (then / now).log()
    energy = (y.double() ** 2).flatten(1).sum(1).cpu() / (2 * sigmas[-1] ** 2)
    noise_like = -energy - values * (0.5 * math.log(2 * math.pi) + sigmas[-1].log())
    return noise_like + gained - values * path.coefficients(times[0]).b.log()
