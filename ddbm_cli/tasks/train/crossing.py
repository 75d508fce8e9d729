"""Validation of a training without pairs: held-out images of both sides go to the other side, and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import Denoiser
from ddbm_cli.imaging.io import save_picture
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import ModelCard, TranslationModel
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train.card import spread
from ddbm_cli.tasks.train.results import Results
from ddbm_cli.tasks.train.validation import AT_ONCE, SHEET_PAIRS, VALIDATION_PAIRS, Validation
from ddbm_cli.training import Batches
from ddbm_cli.training.averages import Averages
from ddbm_cli.training.sides import A_TO_B, B_TO_A, TwoSides

LEAST_IMAGES, LEAST_SIDE = 2, 16
"""Held-out images of a side, and their side in pixels, below which there is no validation."""


class CrossValidation(Validation):
    """Validates the averaged weights on held-out images of both sides, which are no pairs.

    Its loss is the mean over the two directions of the distance of results to held-out images of the other side
    (`metrics.SlicedWasserstein`). `distance` is the root mean square of the change, and `cycle` that of the difference
    between an image and the result there and back; of values in -1..1.

    Args:
        held_out: images of both sides; up to `VALIDATION_PAIRS` of each are used. The others are as of `Validation`.
    """

    def __init__(
        self,
        request: TrainRequest,
        card: ModelCard,
        held_out: TwoSides,
        *,
        codec: Codec,
        results: Results,
        samples: Path,
        stop: Callable[[], bool],
    ) -> None:
        self._begin(request, card, codec=codec, results=results, samples=samples, stop=stop)
        chosen = [[each.pair(index)[0] for index in spread(len(each), VALIDATION_PAIRS)] for each in held_out.sides]
        self._count = sum(map(len, chosen))
        if can_validate(held_out, card):
            self._images = [torch.stack(images) for images in chosen]

    @property
    def size(self) -> int:
        """How many images one validation passes through the network."""
        return 2 * self._count * self._card.defaults["steps"]

    def __call__(self, averages: Averages, step: int) -> dict[str, float]:
        """Validate all averages, and choose the one with the lowest loss; write a row and a sheet of its samples.

        Raises:
            Interrupted: the run is to stop.
        """
        there = [self._there(averages[index]) for index in range(len(averages))]
        losses = [sum(self._closeness(made, side) for side, made in enumerate(each)) / 2 for each in there]
        averages.chosen = min(range(len(losses)), key=losses.__getitem__)
        made = there[averages.chosen]
        back = [self._translated(averages.used, made[A_TO_B], B_TO_A), self._translated(averages.used, made[B_TO_A], 0)]
        self.scores = {"loss": min(losses)}
        if len(losses) > 1:
            self.scores |= {f"loss_ema_{decay:g}": loss for decay, loss in zip(averages.decays, losses, strict=True)}
        for name, others in (("distance", made), ("cycle", back)):
            pairs = zip(self._images, others, strict=True)
            self.scores[name] = sum(float((own - other).square().mean().sqrt()) for own, other in pairs) / 2
        self._results.add(step, self.scores)
        groups = [torch.cat([side[spread(len(side), SHEET_PAIRS // 2)] for side in each]) for each in (made, back)]
        own = torch.cat([side[spread(len(side), SHEET_PAIRS // 2)] for side in self._images])
        sheet = self._sheet(step)
        sheet.parent.mkdir(parents=True, exist_ok=True)
        save_picture(contact_sheet([own, *groups], columns=4), sheet)
        return self.scores

    def _some(self) -> tuple[Tensor, Tensor | None]:
        """Return as many images as are evaluated at once, and their direction."""
        images = self._images[A_TO_B][:AT_ONCE]
        return images, torch.full((len(images),), A_TO_B)

    def _there(self, denoiser: Denoiser) -> list[Tensor]:
        """Return the images of each side, translated to the other."""
        return [self._translated(denoiser, images, side) for side, images in enumerate(self._images)]

    def _closeness(self, made: Tensor, side: int) -> float:
        """Return the distance of results of a side to the images of the other."""
        metric = SlicedWasserstein(torch.device("cpu"))
        others = self._images[1 - side]
        metric.add("outputs", torch.arange(len(made)), _bytes(made))
        metric.add("targets", torch.arange(len(others)), _bytes(others))
        value = metric.figures()[0].value
        assert value is not None
        return value

    def _translated(self, denoiser: Denoiser, images: Tensor, direction: int) -> Tensor:
        model = TranslationModel(self._card, denoiser, self._codec).with_conditions(torch.tensor([direction]))
        plan, results = model.plan(), []
        for first in range(0, len(images), AT_ONCE):
            self._check()
            part = images[first : first + AT_ONCE]
            noise = NoiseSource(0, [f"validation {direction} {first + index}" for index in range(len(part))])
            results.append(finish(model.translate(part, noise, plan)))
        return torch.cat(results).clamp(-1, 1)


def can_validate(held_out: Batches | TwoSides, card: ModelCard) -> bool:
    """Return whether there are enough held-out images for a validation; those of two sides must have some pixels."""
    if isinstance(held_out, Batches):
        return len(held_out) > 0
    large = min(card.preprocess.width, card.preprocess.height) >= LEAST_SIDE
    return large and min(map(len, held_out.sides)) >= LEAST_IMAGES


def validation_of(held_out: Batches | TwoSides, request: TrainRequest, card: ModelCard, **options: Any) -> Validation:
    """Return the validation on held-out pairs, or on images of two sides; the options are those of `Validation`."""
    if isinstance(held_out, Batches):
        return Validation(request, card, held_out, **options)
    return CrossValidation(request, card, held_out, **options)


def _bytes(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round().to(torch.uint8)
