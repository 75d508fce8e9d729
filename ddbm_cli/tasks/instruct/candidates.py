"""Candidates: pairs of images of two captions, made alike, and their similarities (InstructPix2Pix, Sec. 3.1.2).

Both images begin with the same noise and get the same noise in each step. In the first part of the steps, a fraction p
of them, they share their self-attention (`networks.shared_attention`). A candidate is one batch of its own, so that its
images depend on its name and the settings alone.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddbm_cli.denoisers import Guidance
from ddbm_cli.foundation.devices import choose_device, is_finite
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import to_picture, to_pixels
from ddbm_cli.metrics.clip import CLIP, check_cached
from ddbm_cli.metrics.pair_similarity import PairSimilarity, Similarities
from ddbm_cli.models.labels import pipeline_texts, text_label
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.pipeline import card_of_pipeline
from ddbm_cli.models.resolve import loading, placing
from ddbm_cli.networks.shared_attention import shared_self_attention
from ddbm_cli.options.data import InstructRequest
from ddbm_cli.registry.pipelines import is_pipeline_folder
from ddbm_cli.samplers import NoiseSource
from ddbm_cli.tasks.events import Evaluated, Loading
from ddbm_cli.tasks.images_in import random_of
from ddbm_cli.tasks.instruct.captions import Caption, CaptionError

SAMPLER, GRID = "euler-ancestral", "karras:rho=1,gap=0"
"""k-diffusion's Euler-ancestral sampler, at times of training with equal distances."""

SETTINGS = ("model", "clip", "size", "seed", "steps", "min_p", "max_p", "min_cfg", "max_cfg")
"""Options that change the images of a candidate, or their similarities."""


@dataclass(frozen=True)
class Draw:
    """What is random of a candidate besides its noise.

    p: fraction of the steps with shared self-attention. scale: guidance scale of the captions.
    """

    p: float
    scale: float

    @classmethod
    def of(cls, request: InstructRequest, name: str) -> "Draw":
        """Return that of the candidate of this name."""
        random = random_of(request.seed, name, "candidate")
        p, scale = random.uniform(request.min_p, request.max_p), random.uniform(request.min_cfg, request.max_cfg)
        return cls(round(float(p), 6), round(float(scale), 6))


class Studio:
    """The models of a run: a text-to-image pipeline, and CLIP on its device."""

    def __init__(self, request: InstructRequest, model: TranslationModel, clip: PairSimilarity) -> None:
        self._request, self._model, self._clip = request, model, clip
        self._plan = model.plan(SAMPLER, GRID, request.steps)
        self._embedded: tuple[str, ...] = ()

    @staticmethod
    def checking(request: InstructRequest) -> Generator[Loading, None, None]:
        """Check that the models can be used, without loading them; yield the events of downloads.

        Raises:
            ModelError: one is not available. UsageError: it makes no images of texts.
        """
        check_cached(request.clip, CLIP)
        place = yield from placing(request.model)
        card = card_of_pipeline(place) if is_pipeline_folder(place) else None
        if card is None or card.kind != "prior" or not card.text_conditional:
            raise UsageError(
                f"model '{card.name if card else place.name}' makes no images of texts",
                hint="pass a text-to-image pipeline: -m diffusers:FOLDER",
            )

    @classmethod
    def opening(cls, request: InstructRequest) -> Generator[Loading, None, "Studio"]:
        """Load the models, after `checking`; yield the events of downloads.

        Raises:
            ModelError: one is damaged.
        """
        clip = PairSimilarity(request.clip, choose_device(request.device))
        model = yield from loading(request.model, device=request.device, dtype=request.dtype)
        return cls(request, model, clip)

    def sampled(self, caption: Caption, name: str) -> Generator[Evaluated, None, list[Any]]:
        """Return the images (PIL) of a candidate, before and after the edit; yield the evaluations of the network.

        Raises:
            CaptionError: a caption is too long for the pipeline.
            ModelError: an image has no finite colours.
        """
        model, request, texts = self._model, self._request, (caption.before, caption.after)
        if texts != self._embedded:
            self._embed(texts)
        draw, frame = Draw.of(request, name), model.card.preprocess
        label = torch.stack([text_label(model, text) for text in texts])
        conditioned = model.with_conditions(label, Guidance(label=draw.scale))
        source = torch.zeros(len(texts), 3, frame.height, frame.width)
        noise = NoiseSource(request.seed, [name] * len(texts))
        with shared_self_attention(model.denoiser.network) as sharing:
            calls = conditioned.translate(source, noise, self._plan)
            done, images = 0, None
            while images is None:
                sharing.on = done < draw.p * self._plan.nfe
                try:
                    done = next(calls).nfe
                    yield Evaluated(nfe=done)
                except StopIteration as stop:
                    images = stop.value
        if not is_finite(images):
            raise ModelError(f"model '{model.name}': an image contains NaN or infinity", hint="pass --dtype fp32")
        pictures = [to_picture(image) for image in images]
        return pictures if request.size is None else [each.resize((request.size, request.size)) for each in pictures]

    def _embed(self, texts: tuple[str, ...]) -> None:
        """Embed the texts of a caption in the place of those of the last one."""
        known = pipeline_texts(self._model)
        assert known is not None
        try:
            known.replace(texts)
        except UsageError as error:
            raise CaptionError(error.message, hint=error.hint) from None
        self._embedded = texts

    def similarities(self, caption: Caption, files: Sequence[Path]) -> Similarities:
        """Return the similarities of the images in two files, before and after the edit, and their captions.

        Raises:
            ImageError: a file cannot be read.
        """
        images = torch.stack([to_pixels(open_picture(file)) for file in files])
        return self._clip(images, [caption.before, caption.after])
