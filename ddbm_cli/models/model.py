"""A loaded model: card and denoiser on a device, and its sampling."""

import copy
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.codecs import Codec, PixelsConfig
from ddbm_cli.denoisers import PLAIN, Denoise, Denoiser, Guidance, clipped, guided, kept, perturbed
from ddbm_cli.denoisers.tiled import Tiles, in_tiles
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.features import TextFeatures
from ddbm_cli.models.graph import Inputs, PlanGraph
from ddbm_cli.models.speed import Measured
from ddbm_cli.models.texts import PipelineTexts
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import (
    AUTO,
    GRIDS,
    SAMPLERS,
    STARTS,
    Bridge,
    Evaluation,
    Noise,
    Pinned,
    Plan,
    Prior,
    Sampler,
    Start,
    TimeGrid,
    choose,
    default_grid,
    default_start,
    encode,
    expanded,
    is_measured,
    of_process,
    sample,
)


class TranslationModel:
    """A denoiser with its card, on one device.

    Args:
        card: what the model is.
        denoiser: built from the card, with weights.
        codec: built from the card, with weights; None for states that are images.
        digest: sha256 of the model's file, "" for none.
        speed: what its number type was chosen by; None where it was not measured.
        direction: which one of the file's two directions this is; "" for a file of one.
        load_reverse: loads the other direction; None where there is none.
        texts: those of a pipeline, or by the frozen encoder that the card names; None for other models.

    `graph` samples the batches of one plan by a CUDA graph; None, as it is made, samples without.
    """

    def __init__(
        self,
        card: ModelCard,
        denoiser: Denoiser,
        codec: Codec | None = None,
        *,
        digest: str = "",
        speed: Measured | None = None,
        direction: str = "",
        load_reverse: "Callable[[], TranslationModel] | None" = None,
        texts: PipelineTexts | TextFeatures | None = None,
    ) -> None:
        self.card = card
        self.denoiser = denoiser
        self.codec = codec or PixelsConfig().create()
        self.digest = digest
        self.speed = speed
        self.direction = direction
        self._load_reverse = load_reverse
        self.texts = texts
        self.graph: PlanGraph | None = None
        self._label: Tensor | None = None
        self._guidance = PLAIN
        self._tiles: Tiles | None = None

    @property
    def name(self) -> str:
        """The name in the card."""
        return self.card.name

    def facts(self) -> dict[str, str]:
        """Return further lines of the header."""
        return {}

    @property
    def is_prior(self) -> bool:
        """Whether it generates images from noise alone, without a source."""
        return self.card.kind == "prior"

    @property
    def classes(self) -> int:
        """Number of classes of the network; 0 if it is not class-conditional."""
        return self.card.num_classes

    @property
    def takes_text(self) -> bool:
        """Whether the network takes a text."""
        return self.card.vocabulary is not None or self.texts is not None

    def with_conditions(self, label: Tensor | None = None, guidance: Guidance = PLAIN) -> Self:
        """Return the same model with the classes or texts of a batch, and scales of guidance.

        Args:
            label: of each image, see `denoisers.Conditions`; None for models that take neither classes nor texts.
            guidance: scales; other than 1 only for a model that was trained with condition dropout.
        """
        other = copy.copy(self)
        other._label, other._guidance = label, guidance
        return other

    def without_graph(self) -> Self:
        """Return the same model, whose evaluations have the states of their steps."""
        other = copy.copy(self)
        other.graph = None
        return other

    def with_tiles(self, tiles: Tiles) -> Self:
        """Return the same model with estimates of tiles, blended at every evaluation; in positions of the states."""
        other = self.without_graph()
        other._tiles = tiles
        return other

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the network; states are always float32."""
        return next(self.denoiser.parameters()).dtype

    @property
    def is_batch_invariant(self) -> bool:
        """Whether an image has the same bits in a batch of any size: some networks on a CPU, in float32.

        With numbers of threads that are no power of 2, oneDNN divides convolutions by the size of the batch; measured.
        """
        threads = torch.get_num_threads()
        exact = self.device.type == "cpu" and self.dtype == torch.float32 and threads & (threads - 1) == 0
        return exact and bool(getattr(self.denoiser.network, "batch_invariant", False))

    def plan(
        self,
        sampler: str | Mapping[str, Any] | Sampler | None = None,
        grid: str | Mapping[str, Any] | TimeGrid | None = None,
        steps: int | None = None,
        nfe: int | None = None,
        *,
        start: Mapping[str, Any] | Start | None = None,
    ) -> Plan:
        """Resolve how to sample: what is given, else the defaults of the card, or of another sampler on this path.

        A budget alone that is not that of the card is used with the settings that were tuned for it, else with the
        sampler that `--sampler auto` chooses; some models keep their own, see `ModelCard.adapts`.

        Raises:
            UsageError: an unknown name, a value out of range, both steps and nfe, or a sampler that the
                model cannot use.
        """
        if not self.card.markov:
            return self._plan(sampler, grid, steps, nfe, start)
        plan = self._plan(None if sampler == AUTO else sampler, grid, steps, nfe, start or Pinned())
        return of_process(plan, self.name, both=self._load_reverse is not None, usual_grid=grid is None)

    def _plan(
        self,
        sampler: str | Mapping[str, Any] | Sampler | None,
        grid: str | Mapping[str, Any] | TimeGrid | None,
        steps: int | None,
        nfe: int | None,
        start: Mapping[str, Any] | Start | None,
    ) -> Plan:
        """As `plan`, without the check of Markov processes."""
        if steps is not None and nfe is not None:
            raise UsageError("--steps and --nfe are mutually exclusive", hint="pass one of them")
        if nfe is not None and nfe < 1:
            raise UsageError("--nfe must be at least 1", hint="pass --nfe 1 or more")
        if sampler in (None, AUTO) and grid is None and not start and str(nfe) in self.card.tuned:
            return self.tuned_plan(str(nfe))
        if sampler == AUTO or (sampler is None and grid is None and not start and self._adapts(nfe)):
            return self._auto_plan(grid, steps, nfe, start)
        defaults = self.card.defaults
        chosen = build(SAMPLERS, expanded(sampler) if sampler is not None else defaults["sampler"], what="sampler")
        own = chosen.name == defaults["sampler"]["name"]
        path = self.denoiser.path
        if own:
            usual_grid = build(GRIDS, defaults["grid"], what="grid")
            usual_start = build(STARTS, defaults["start"], what="start")
        else:
            usual_grid = default_grid(path, chosen)
            usual_start = Prior() if self.is_prior else default_start(path, chosen, self.denoiser.prediction)
        plan = Plan(
            path=path,
            sampler=chosen,
            grid=usual_grid if grid is None else build(GRIDS, grid, what="grid"),
            start=usual_start if not start else build(STARTS, start, what="start"),
            steps=defaults["steps"] if steps is None else steps,
        )
        # A default of the card is a budget: another sampler gets the calls, not the steps, of the card's own.
        if nfe is None and steps is None and not own:
            nfe = self.plan().nfe
        return plan if nfe is None else plan.within(nfe)

    def _adapts(self, nfe: int | None) -> bool:
        """Return whether a budget without further settings gets the sampler that `auto` chooses."""
        if nfe is None or not self.card.adapts:
            return False
        usual = self.plan()
        return nfe != usual.nfe and is_measured(usual.path)

    def _auto_plan(
        self,
        grid: str | Mapping[str, Any] | TimeGrid | None,
        steps: int | None,
        nfe: int | None,
        start: Mapping[str, Any] | Start | None,
    ) -> Plan:
        """Return the plan of the best sampler for a budget, by default that of the card."""
        if steps is not None:
            raise UsageError("--sampler auto chooses by network evaluations", hint="pass --nfe instead of --steps")
        nfe = self.plan().nfe if nfe is None else nfe
        path = self.denoiser.path
        if self.is_prior and not start:
            start = Prior()
        if start:
            path = build(STARTS, start, what="start").path(path)
        chosen = choose(path, nfe)
        sampler = build(SAMPLERS, chosen.sampler, what="sampler")
        if grid is None:
            grid = default_grid(path, sampler) if chosen.grid is None else build(GRIDS, chosen.grid, what="grid")
        start = start or default_start(path, sampler, self.denoiser.prediction)
        return self.plan(sampler, grid, nfe=nfe, start=start)

    def tuned_plan(self, budget: str) -> Plan:
        """Return the plan that the card holds for a budget, a key of `card.tuned`.

        Raises:
            UsageError: an unknown name, or a value out of range.
        """
        found = self.card.tuned[budget]
        return Plan(
            path=self.denoiser.path,
            sampler=build(SAMPLERS, found["sampler"], what="sampler"),
            grid=build(GRIDS, found["grid"], what="grid"),
            start=build(STARTS, found["start"], what="start"),
            steps=found["steps"],
            budget=int(budget),
        )

    def draws_noise(self, plan: Plan) -> bool:
        """Return whether several images of one source differ under a plan."""
        return bool(self.card.noise_channels or plan.draws)

    def _denoise(
        self, path: ProbabilityPath, noise: Noise, label: Tensor | None, extra: Tensor | None = None
    ) -> Denoise:
        """Return the denoiser with its guidance, for sampling on a path with a source of noise.

        label: (B,), or (1,) for all; None for none. extra: (B, N, h, w), for networks with channels of noise.
        """
        perturbation = self._guidance.perturbation
        if perturbation is not None:  # `perturbed` estimates twice in one batch
            label = torch.cat([label, label]) if label is not None and len(label) > 1 else label
            extra = None if extra is None else extra.repeat(2, 1, 1, 1)
        make = partial(guided, self.denoiser, label, self._guidance)
        denoise = in_tiles(make, extra, self._tiles) if self._tiles else make(extra)
        if perturbation is not None:
            denoise = perturbed(denoise, path, perturbation, noise)
        return clipped(denoise) if self.card.clip else denoise

    def _estimate_source(self, plan: Plan, noise: Noise) -> Denoise | None:
        """Return the estimate of the source by the other direction, for plans that use it."""
        if not plan.estimates_source or self._load_reverse is None:
            return None
        reverse = self._load_reverse()
        reverse = reverse if self._tiles is None else reverse.with_tiles(self._tiles)
        denoise = reverse._denoise(plan.path, noise, None)
        return lambda x, t, source: denoise(x, plan.path.mirrored(t), source)

    def encode(self, target: Tensor, source: Tensor, plan: Plan) -> Generator[Evaluation, None, Tensor]:
        """Return the noise (B, C, h, w), of the shape of the states, from which a batch of targets would be sampled.

        Args:
            target, source: images (B, 3, H, W), float32 in -1..1.
            plan: see `samplers.encoding`.
        """
        denoise = self._denoise(plan.path, torch.zeros_like, self._label)
        end, begin = (self.codec.encode(each.to(self.device)) for each in (target, source))
        return (yield from encode(denoise, plan.path, end, begin, plan.times))

    def translate(
        self, source: Tensor, noise: Noise, plan: Plan, *, mask: Tensor | None = None
    ) -> Generator[Evaluation, None, Tensor]:
        """Translate images (B, 3, H, W), float32 in -1..1; yield every network call, return the result on the CPU.

        Args:
            mask: (B, 1, H, W), 1 where the source may change; for priors and inpainting models. A latent may change
                where any of its pixels may; pixels that may not change are those of the source.
        """
        if self.codec.factor == 1:
            return (yield from self._sample(source, noise, plan, mask))
        latents = self.codec.encode(source.to(self.device))
        coarse = None if mask is None else F.adaptive_max_pool2d(mask, latents.shape[-2:])
        result = yield from self._sample(latents, noise, plan, coarse)
        images = self.codec.decode(result.to(self.device)).cpu()
        return images if mask is None else torch.where(mask > 0, images, source)

    def _sample(
        self, source: Tensor, noise: Noise, plan: Plan, mask: Tensor | None
    ) -> Generator[Evaluation, None, Tensor]:
        """As `translate`, of states (B, C, h, w) instead of images."""
        self._estimate_source(plan, noise)  # it is loaded now, and not while a graph is captured
        inputs = Inputs(source, mask, self._label).mapped(lambda each: each.to(self.device))
        if self.graph is None or self._tiles is not None:  # images in tiles have many sizes
            result = yield from self._steps(inputs, noise, plan)
        else:
            texts = len(self.texts) if isinstance(self.texts, PipelineTexts) else 0  # new ones move the embeddings
            key = repr((plan, self._guidance, texts))
            result = yield from self.graph.run(key, partial(self._steps, plan=plan), inputs, noise)
        return result.float().cpu()

    def _steps(self, inputs: Inputs, noise: Noise, plan: Plan) -> Generator[Evaluation, None, Tensor]:
        """Sample a batch on the device. No step waits for the device, or copies to it what depends on the batch."""
        source, mask, label = inputs
        channels = self.card.noise_channels
        extra = noise(source.new_empty(len(source), channels, *source.shape[2:])) if channels else None
        denoise = self._denoise(plan.path, noise, label, extra)
        if mask is None or plan.path.source_free:
            bridge = Bridge(plan.path, source, noise, mask, self._estimate_source(plan, noise))
            sampling = (bridge, plan.sampler, plan.start, plan.times)
            result = yield from sample(denoise, *sampling, partial=plan.is_partial)
        else:
            bridge = Bridge(plan.path, source, noise)
            filled = yield from sample(kept(denoise, mask), bridge, plan.sampler, plan.start, plan.times)
            result = torch.where(mask > 0, filled, source)  # the last step may leave a little noise
        return result
