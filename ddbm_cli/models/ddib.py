"""Dual diffusion implicit bridges (DDIB, arXiv:2203.08382): a bridge from two priors, trained without pairs.

The probability-flow ODE of the source prior encodes an image as noise; that of the target prior decodes the noise.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

from torch import Tensor

from ddbm_cli.denoisers import PLAIN, Guidance, clipped
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.models.card import Defaults
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import Evaluation, Noise, Plan, Sampler, Start, TimeGrid, encode, encoding_evaluations

DEFAULTS: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "log-snr"},
    "start": {"name": "prior"},
    "steps": 25,
}


@dataclass(frozen=True, kw_only=True)
class RoundTrip(Plan):
    """A plan for decoding, and the path of the encoder, which uses the same grid and number of steps."""

    encoder_path: ProbabilityPath

    @property
    def encoder_times(self) -> Tensor:
        """The falling times of the encoder, float64 (steps + 1,); encoding visits them from last to first."""
        return replace(self, path=self.encoder_path).times

    @cached_property
    def nfe(self) -> int:
        """The number of network evaluations of encoding and decoding."""
        return super().nfe + encoding_evaluations(self.encoder_path, self.encoder_times)


class DDIB(TranslationModel):
    """The bridge from the images of one prior to those of another.

    Args:
        encoder: the prior of the sources.
        decoder: the prior of the targets, of the same size.

    Raises:
        UsageError: one is not a prior, or they differ in size.
    """

    def __init__(self, encoder: TranslationModel, decoder: TranslationModel) -> None:
        for model in (encoder, decoder):
            if not model.denoiser.path.source_free or not model.is_prior:
                raise UsageError(
                    f"model '{model.name}' is not a prior, and DDIB needs two", hint="list priors: ddbm weights list"
                )
        sizes = encoder.card.preprocess.words, decoder.card.preprocess.words
        if sizes[0] != sizes[1]:
            raise UsageError(
                f"the priors have different sizes: {sizes[0]} and {sizes[1]} pixels", hint="pass two priors of one size"
            )
        digest = sha256(f"{encoder.digest}{decoder.digest}".encode())
        task = f"{encoder.card.task.removeprefix('-> ')} {decoder.card.task}"
        name = f"{encoder.name}-to-{decoder.name}"
        card = replace(
            decoder.card, name=name, task=task, kind="bridge", defaults=DEFAULTS, keep_sampler=True, tuned={}
        )
        super().__init__(card, decoder.denoiser, digest=digest, texts=decoder.texts)
        self._encoder, self._decoder = encoder, decoder

    @property
    def priors(self) -> tuple[TranslationModel, TranslationModel]:
        """The two priors, that of the sources first."""
        return self._encoder, self._decoder

    def with_conditions(self, label: Tensor | None = None, guidance: Guidance = PLAIN) -> Self:
        """As `TranslationModel.with_conditions`, for the targets."""
        other = super().with_conditions(label, guidance)
        other._decoder = self._decoder.with_conditions(label, guidance)
        return other

    def without_graph(self) -> Self:
        """As `TranslationModel.without_graph`; the encoder has none."""
        other = super().without_graph()
        other._decoder = self._decoder.without_graph()
        return other

    def plan(
        self,
        sampler: str | Mapping[str, Any] | Sampler | None = None,
        grid: str | Mapping[str, Any] | TimeGrid | None = None,
        steps: int | None = None,
        nfe: int | None = None,
        *,
        start: Mapping[str, Any] | Start | None = None,
    ) -> Plan:
        """As `TranslationModel.plan`; `nfe` is the budget of both directions together."""
        once = super().plan(sampler, grid, steps, nfe, start=start)
        same = {each.name: getattr(once, each.name) for each in fields(Plan)}
        both = RoundTrip(**same, encoder_path=self._encoder.denoiser.path)
        return both if nfe is None else both.within(nfe)

    def translate(
        self, source: Tensor, noise: Noise, plan: Plan, *, mask: Tensor | None = None
    ) -> Generator[Evaluation, None, Tensor]:
        """As `TranslationModel.translate`; `noise` is for samplers that add noise while decoding."""
        assert isinstance(plan, RoundTrip) and mask is None
        calls, nfe = self._encode_and_decode(source.to(self.device), noise, plan), 0
        while True:
            try:
                evaluation = next(calls)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            nfe += 1
            yield replace(evaluation, nfe=nfe)

    def _encode_and_decode(self, source: Tensor, noise: Noise, plan: RoundTrip) -> Generator[Evaluation, None, Tensor]:
        denoise = clipped(self._encoder.denoiser) if self._encoder.card.clip else self._encoder.denoiser
        latent = yield from encode(denoise, plan.encoder_path, source, source, plan.encoder_times)
        first = iter([lambda like: latent])
        return (yield from self._decoder.translate(source, lambda like: next(first, noise)(like), plan))
