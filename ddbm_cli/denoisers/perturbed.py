"""Perturbed guidance (GuidedBridge, arXiv:2606.03119): away from the estimate at a perturbed state. No training.

    x0 = D(H x) + w (D(x) - D(H x))                                                        (1)

H perturbs the state; the source stays as it is. With `split`, the difference has two weights, for low and for high
spatial frequencies, which change over the path:

    low:  1 + (w - 1) 4 u (1 - u),     high:  1 + (w - 1) (1 - 4 u (1 - u))                (2)

where u = a / (a + b) is the share of the source, c / (b + c) where there is none: low frequencies most in the middle,
high ones at the ends, as in the paper. The shape of (2) and the strengths of H are this package's own. Both estimates
are computed in one batch of twice the size, one network evaluation.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers.denoiser import Denoise
from ddbm_cli.foundation.settings import settings
from ddbm_cli.paths import ProbabilityPath

COARSE = 4
"""Low frequencies are those that are left after averaging squares of this side."""


@settings
class Perturbation:
    """Base: a subclass defines `apply`.

    scale: w of (1); 1 is no guidance. split: use (2).
    """

    name: ClassVar[str]
    draws: ClassVar[bool] = False
    """Whether `apply` uses noise."""

    scale: Annotated[float, Field(ge=0, le=1000)] = 1.5
    split: bool = False

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Return the perturbed states (B, C, H, W); noise: standard normal, like x, where the perturbation draws."""
        raise NotImplementedError(f"{type(self).__name__}.apply")


@settings
class NoisePerturbation(Perturbation):
    """Add Gaussian noise to the state.

    strength: its standard deviation.
    """

    name: ClassVar[str] = "noise"
    draws: ClassVar[bool] = True

    strength: Annotated[float, Field(gt=0, le=100)] = 0.1

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        return x + self.strength * noise


@settings
class BlurPerturbation(Perturbation):
    """Blur the state with a Gaussian.

    strength: its standard deviation in pixels.
    """

    name: ClassVar[str] = "blur"

    strength: Annotated[float, Field(gt=0, le=100)] = 1.0

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        reach = min(int(3 * self.strength + 0.5) or 1, min(x.shape[-2:]) - 1)
        places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        weights = torch.exp(-((places / self.strength) ** 2) / 2)
        weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
        padded = F.pad(x, (reach, reach, reach, reach), mode="reflect")
        blurred = F.conv2d(padded, weights, groups=x.shape[1])
        return F.conv2d(blurred, weights.transpose(2, 3), groups=x.shape[1])


@settings
class PoolPerturbation(Perturbation):
    """Replace squares of the state by their means.

    side: of a square, in pixels.
    """

    name: ClassVar[str] = "pool"

    side: Annotated[int, Field(ge=2, le=64)] = 2

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return _coarse(x, self.side)


PERTURBATIONS: dict[str, type[Perturbation]] = {
    kind.name: kind for kind in (NoisePerturbation, BlurPerturbation, PoolPerturbation)
}


def perturbed(
    denoise: Denoise, path: ProbabilityPath, perturbation: Perturbation, noise: Callable[[Tensor], Tensor]
) -> Denoise:
    """Return the denoiser of (1), of any denoiser that takes batches of any size.

    Args:
        denoise: its labels, if it has some, are those of a batch twice.
        path: the path that is sampled.
        perturbation: H and the weights.
        noise: returns standard noise like a state; called once per evaluation where the perturbation draws.
    """

    def estimate(x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        drawn = noise(x) if perturbation.draws else None
        states = torch.cat([x, perturbation.apply(x, drawn)])
        times = t if t.ndim == 0 else t.repeat(2)
        right, other = denoise(states, times, source.repeat(2, 1, 1, 1)).chunk(2)
        gap = right - other
        more = perturbation.scale - 1
        if not perturbation.split:
            return other + (1 + more) * gap
        share = _middle(path, t if t.ndim == 0 else t.reshape(-1, 1, 1, 1))  # 0-d: a number of the host, not copied
        share = share if t.ndim == 0 else share.to(x)
        low = _coarse(gap, COARSE)
        return right + more * (share * low + (1 - share) * (gap - low))

    return estimate


def _middle(path: ProbabilityPath, t: Tensor) -> Tensor:
    """Return 4 u (1 - u) of (2)."""
    a, b, c = path.coefficients(t)
    u = c / (b + c) if path.source_free else a / (a + b)
    return 4 * u * (1 - u)


def _coarse(x: Tensor, side: int) -> Tensor:
    """Return the means of squares, in the size of the image."""
    small = F.avg_pool2d(x, side, ceil_mode=True, count_include_pad=False)
    return F.interpolate(small, scale_factor=side, mode="nearest")[..., : x.shape[-2], : x.shape[-1]]
