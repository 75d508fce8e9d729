"""Guidance on two conditions (InstructPix2Pix, arXiv:2211.09800, eq. 3), as a wrapper of a denoiser.

    x0 = D(-, -) + image (D(I, -) - D(-, -)) + label (D(I, L) - D(I, -))                  (1)

with I the source and L the label. The estimates of (1) are computed in one batch, one network evaluation. With both
scales at 1 it is D(I, L); a scale above 1 strengthens the effect of its condition, one below 1 weakens it. For a
network with one of the conditions, (1) is classifier-free guidance (arXiv:2207.12598) on that one.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers.conditions import NO_LABEL, Conditions
from ddbm_cli.denoisers.denoiser import Denoise, Denoiser
from ddbm_cli.denoisers.perturbed import Perturbation
from ddbm_cli.foundation.settings import settings

Scale = Annotated[float, Field(ge=0, le=1000)]


@settings
class Guidance:
    """The scales of (1), and perturbed guidance, which `guided` leaves to `perturbed`."""

    image: Scale = 1.0
    label: Scale = 1.0
    perturbation: Perturbation | None = None


PLAIN = Guidance()


def guided(denoiser: Denoiser, label: Tensor | None, guidance: Guidance, noise: Tensor | None = None) -> Denoise:
    """Return the denoiser of (1).

    Args:
        denoiser: trained with condition dropout; see `conditions.dropped`.
        label: (B, ...), or (1, ...) for the whole batch, see `Conditions`; None for no label.
        guidance: the scales.
        noise: (B, N, H, W) for networks with channels of noise.
    """
    if label is None and guidance.image == guidance.label == 1 and noise is None:
        return denoiser
    image = guidance.image if denoiser.sees_source else 1.0
    strength = guidance.label if label is not None else image
    every = (((False, False), 1 - image), ((True, False), image - strength), ((True, True), strength))
    terms = [(used, weight) for used, weight in every if weight]

    def estimate(x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        count, kinds = len(x), len(terms)
        # Made on the device: copies from the host would wait for it, and are no part of a CUDA graph.
        use_source = None
        if not all(used for (used, _), _ in terms):
            use_source = torch.cat([x.new_full((count,), used, dtype=torch.bool) for (used, _), _ in terms])
        labels = None
        if label is not None:
            each = label.expand(count, *label.shape[1:])
            labels = torch.cat([each if named else torch.full_like(each, NO_LABEL) for (_, named), _ in terms])
        repeated = None if noise is None else noise.repeat(kinds, 1, 1, 1)
        conditions = Conditions(labels, use_source, repeated).to(x.device)
        times = t if t.ndim == 0 else t.repeat(kinds)
        found = denoiser(x.repeat(kinds, 1, 1, 1), times, source.repeat(kinds, 1, 1, 1), conditions)
        weights = torch.cat([found.new_full((1,), weight) for _, weight in terms])
        return torch.einsum("k,kbchw->bchw", weights, found.unflatten(0, (kinds, count)))

    if [used for used, _ in terms] == [(True, True)]:  # nothing is combined: the same bits as without guidance
        return lambda x, t, source: denoiser(x, t, source, Conditions(label, noise=noise).to(x.device))
    return estimate
