"""Dual diffusion implicit bridges (DDIB, arXiv:2203.08382): two priors make a bridge, and no pair was ever seen.

The source prior's ODE leads a picture to the noise that it would be made from; the target prior's makes a picture
of that noise.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from ddbm_cli.denoisers import PLAIN, Guidance, clipped
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.models.card import Defaults
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import Evaluation, Noise, Plan, encode

DEFAULTS: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "log-snr"},
    "start": {"name": "prior"},
    "steps": 25,
}


@dataclass(frozen=True, kw_only=True)
class RoundTrip(Plan):
    """A plan of the way back, and the path of the way there, whose grid and steps are the same."""

    there: ProbabilityPath

    @property
    def times_there(self) -> Tensor:
        """The falling times of the way there, which goes along them from last to first."""
        return replace(self, path=self.there).times

    @cached_property
    def nfe(self) -> int:
        """The number of network evaluations there and back, counted."""
        dot = torch.zeros(1, 1, 1, 1)
        return super().nfe + sum(1 for _ in encode(lambda x, t, source: x, self.there, dot, dot, self.times_there))


class DDIB(TranslationModel):
    """The bridge from one prior's pictures to another's.

    Args:
        there: the prior of the sources; back: the prior of the targets, of the same size.

    Raises:
        UsageError: one is no prior, or they differ in size.
    """

    def __init__(self, there: TranslationModel, back: TranslationModel) -> None:
        for model in (there, back):
            if not model.denoiser.path.source_free or not model.is_prior:
                raise UsageError(f"model '{model.name}' is no prior, and DDIB needs two", hint="see: ddbm weights list")
        sizes = there.card.preprocess.size, back.card.preprocess.size
        if sizes[0] != sizes[1]:
            raise UsageError(f"pictures of {sizes[0]} and of {sizes[1]} pixels", hint="name two priors of one size")
        digest = sha256(f"{there.digest}{back.digest}".encode())
        task = f"{there.card.task.removeprefix('-> ')} {back.card.task}"
        name = f"{there.name}-to-{back.name}"
        card = replace(back.card, name=name, task=task, kind="bridge", defaults=DEFAULTS)
        super().__init__(card, back.denoiser, digest=digest)
        self._there, self._back = there, back

    @property
    def priors(self) -> tuple[str, str]:
        """The names of the two, the sources' first."""
        return self._there.name, self._back.name

    def told(self, label: Tensor | None = None, guidance: Guidance = PLAIN) -> Self:
        """As `TranslationModel.told`, of the targets."""
        other = super().told(label, guidance)
        other._back = self._back.told(label, guidance)
        return other

    def plan(
        self,
        sampler: str | Mapping[str, Any] | None = None,
        grid: str | Mapping[str, Any] | None = None,
        steps: int | None = None,
        nfe: int | None = None,
        *,
        start: Mapping[str, Any] | None = None,
    ) -> Plan:
        """As `TranslationModel.plan`; a budget is of both ways together."""
        once = super().plan(sampler, grid, steps, nfe, start=start)
        same = {each.name: getattr(once, each.name) for each in fields(Plan)}
        both = RoundTrip(**same, there=self._there.denoiser.path)
        return both if nfe is None else both.within(nfe)

    def translate(
        self, source: Tensor, noise: Noise, plan: Plan, *, mask: Tensor | None = None
    ) -> Generator[Evaluation, None, Tensor]:
        """As `TranslationModel.translate`; the noise is for samplers that draw some on the way back."""
        assert isinstance(plan, RoundTrip) and mask is None
        steps, nfe = self._there_and_back(source.to(self.device), noise, plan), 0
        while True:
            try:
                evaluation = next(steps)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            nfe += 1
            yield replace(evaluation, nfe=nfe)

    def _there_and_back(self, source: Tensor, noise: Noise, plan: RoundTrip) -> Generator[Evaluation, None, Tensor]:
        there = clipped(self._there.denoiser) if self._there.card.clip else self._there.denoiser
        latent = yield from encode(there, plan.there, source, source, plan.times_there)
        first = iter([lambda like: latent])
        return (yield from self._back.translate(source, lambda like: next(first, noise)(like), plan))
