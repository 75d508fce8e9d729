"""Validation of a run on held-out images; writes results.csv and sample sheets into the run's folder."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import Conditions, Denoiser
from ddbm_cli.foundation.devices import synchronize
from ddbm_cli.foundation.events import Sampled
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.io import save_picture
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import ModelCard, TranslationModel
from ddbm_cli.objectives import OBJECTIVES, TIME_DISTRIBUTIONS, denoising_loss, noise_source
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.registry.reference import short_name
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train.card import spread
from ddbm_cli.tasks.train.folder import sheet_name
from ddbm_cli.tasks.train.perceptual import distances_of
from ddbm_cli.tasks.train.results import Results
from ddbm_cli.training import Batches, Fit, Interrupted
from ddbm_cli.training.averages import Averages

VALIDATION_PAIRS = 64
SHEET_PAIRS = 12
SHEET_SAMPLES = 24
AT_ONCE = 16


class Validation:
    """Validates the averaged weights on held-out images: the loss at fixed times and noise, and sampled images.

    Args:
        request, card: what is trained. codec: makes states of images.
        held_out: held-out pairs; up to `VALIDATION_PAIRS` of them are used.
        results: the table to add rows to.
        samples: the folder for sample sheets.
        stop: called between two batches; if it returns True, the validation ends without a result.
    """

    def __init__(
        self,
        request: TrainRequest,
        card: ModelCard,
        held_out: Batches,
        *,
        codec: Codec,
        results: Results,
        samples: Path,
        stop: Callable[[], bool],
    ) -> None:
        self._begin(request, card, codec=codec, results=results, samples=samples, stop=stop)
        places = spread(len(held_out), VALIDATION_PAIRS)
        chosen = [held_out.pair(index) for index in places]
        self._label = held_out.labels(places)
        self._count = len(chosen)
        if chosen:
            self._target, self._source = (torch.stack(side) for side in zip(*chosen, strict=True))
        side = min(card.preprocess.width, card.preprocess.height)
        with torch.random.fork_rng():
            self._distances = {} if request.is_prior else distances_of(side, torch.device("cpu"))

    def _begin(
        self,
        request: TrainRequest,
        card: ModelCard,
        *,
        codec: Codec,
        results: Results,
        samples: Path,
        stop: Callable[[], bool],
    ) -> None:
        self._request, self._card, self._codec = request, card, codec
        self._results, self._samples, self._stop = results, samples, stop
        self.scores: dict[str, float] = {}

    @property
    def size(self) -> int:
        """How many images one validation passes through the network."""
        sampled = min(self._count, SHEET_SAMPLES) if self._request.is_prior else self._count
        return self._count + sampled * self._card.defaults["steps"]

    def expected(self, averages: Averages) -> float:
        """Return the seconds that a validation is expected to take, by one evaluation of a batch."""
        denoiser = averages.used
        device = next(denoiser.parameters()).device
        images, label = self._some()
        count = len(images)
        with torch.no_grad(), averages.assembled(here=True):
            states = self._codec.encode(images.to(device))
            times = torch.full((count,), denoiser.path.t_max / 2, dtype=torch.float64, device=device)
            synchronize(device)
            began = time.monotonic()
            denoiser(states, times, states, Conditions(None if label is None else label.to(device)))
            synchronize(device)
        again = (len(averages) - 1) * self._count
        return (time.monotonic() - began) / count * (self.size + again)

    def __call__(self, averages: Averages, step: int) -> dict[str, float]:
        """Validate all averages, and choose the one with the lowest loss; write a row and a sheet of its samples.

        Raises:
            Interrupted: the run is to stop.
        """
        each = [averages[index] for index in range(len(averages))]
        if self._request.is_distilled:  # a student estimates images, not their means: its error is that of the images
            losses = [float((self._translate(one) - self._target).square().mean()) for one in each]
        else:
            with torch.no_grad():
                losses = [self._loss(one) for one in each]
        averages.chosen = min(range(len(losses)), key=losses.__getitem__)
        results = self._translate(averages.used)
        self.scores = {"loss": min(losses)}
        if len(losses) > 1:
            self.scores |= {f"loss_ema_{decay:g}": loss for decay, loss in zip(averages.decays, losses, strict=True)}
        if not self._request.is_prior:  # samples have no target to be compared with
            self.scores |= {
                "mse": float((results - self._target).square().mean()),
                "blank_mse": float((1 - self._target).square().mean()),
            }
        for name, distance in self._distances.items():
            self.scores[name] = distance(results, self._target)
        self._results.add(step, self.scores)
        self._write_sheet(step, results)
        return self.scores

    def sampled(self, step: int) -> Sampled:
        """Return where the sheet of a step is, and what is in it."""
        size = self._card.preprocess
        group = 1 if self._request.is_prior else 3
        return Sampled(step=step, path=self._sheet(step), group=group, width=size.width, height=size.height)

    def card(self, fit: Fit) -> ModelCard:
        """Return the card after the steps done so far."""
        recipe, alone = fit.recipe, self._request.is_prior or self._request.is_unpaired
        training: dict[str, Any] = {
            "images" if alone else "pairs": len(fit.batches),
            "steps": fit.step,
            "seconds": round(fit.seconds),
            "batch_size": recipe.batch_size,
            "precision": recipe.precision,
            "ema": fit.averages.decay,
            "device": fit.device.type,
            "torch": torch.__version__,
        }
        if self._request.is_distilled:
            training |= {"teacher": short_name(str(self._request.teacher)), "method": self._request.method}
            training |= {"adversarial": self._request.adversarial} if self._request.adversarial else {}
        elif self._request.start_from:
            training["started_from"] = short_name(self._request.start_from)
        held_out = {name: round(value, 5) for name, value in self.scores.items()}
        what = "validation_images" if alone else "validation_pairs"
        scores = {what: self._count, **held_out} if held_out else {}
        return dataclasses.replace(self._card, training=training, scores=scores)

    def _some(self) -> tuple[Tensor, Tensor | None]:
        """Return as many images as are evaluated at once, and their labels."""
        return self._target[:AT_ONCE], None if self._label is None else self._label[:AT_ONCE]

    def _loss(self, denoiser: Denoiser) -> float:
        count, path = self._count, denoiser.path
        device = next(denoiser.parameters()).device
        distribution = build(TIME_DISTRIBUTIONS, self._request.times, what="time distribution")
        clip = build(OBJECTIVES, self._request.objective, what="objective").clips
        times = distribution.times(path, (torch.arange(count) + 0.5) / count)
        names = [f"validation {index}" for index in range(count)]
        target, source = (self._codec.encode(each.to(device)).cpu() for each in (self._target, self._source))
        eps = NoiseSource(0, names)(target)
        if self._request.is_prior:
            source = noise_source(path, target, NoiseSource(0, [f"{name} source" for name in names])(source))
        columns = [tensor.to(device) for tensor in (target, source, times, eps)]
        losses = []
        for first in range(0, count, AT_ONCE):
            self._check()
            part = slice(first, first + AT_ONCE)
            target, source, t, noise = (column[part] for column in columns)
            conditions = Conditions(None if self._label is None else self._label[part].to(device))
            losses.append(denoising_loss(denoiser, target, source, t, noise, conditions, clip=clip))
        return float(torch.cat(losses).mean())

    def _translate(self, denoiser: Denoiser) -> Tensor:
        model = TranslationModel(self._card, denoiser, self._codec)
        plan = model.plan()
        results = []
        sources = self._source[:SHEET_SAMPLES] if self._request.is_prior else self._source
        for first in range(0, len(sources), AT_ONCE):
            self._check()
            part = sources[first : first + AT_ONCE]
            noise = NoiseSource(0, [f"validation {first + index}" for index in range(len(part))])
            label = None if self._label is None else self._label[first : first + len(part)]
            results.append(finish(model.with_conditions(label).translate(part, noise, plan)))
        return torch.cat(results).clamp(-1, 1)

    def _check(self) -> None:
        if self._stop():
            raise Interrupted

    def _write_sheet(self, step: int, results: Tensor) -> None:
        shown = spread(len(results), SHEET_PAIRS)
        columns = (
            [results] if self._request.is_prior else [side[shown] for side in (self._source, results, self._target)]
        )
        sheet = self._sheet(step)
        sheet.parent.mkdir(parents=True, exist_ok=True)
        save_picture(contact_sheet(columns, columns=12 // len(columns)), sheet)

    def _sheet(self, step: int) -> Path:
        return self._samples / sheet_name(step)
