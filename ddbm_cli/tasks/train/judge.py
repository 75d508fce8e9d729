"""Looks at a run on held-out pairs while it goes on, and writes what it sees into the run's folder."""

import csv
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.denoisers import Conditions, Denoiser
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.io import save_picture
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import ModelCard, TranslationModel
from ddbm_cli.objectives import TIME_DISTRIBUTIONS, denoising_loss
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks.train.card import spread
from ddbm_cli.tasks.train.request import TrainRequest
from ddbm_cli.training import Batches, Fit

VALIDATION_PAIRS = 64
SHEET_PAIRS = 12
SHEET_SAMPLES = 24


class Judge:
    """Looks at the averaged weights on held-out pairs: the loss at fixed times and noise, and real translations."""

    def __init__(self, request: TrainRequest, card: ModelCard, held_out: Batches) -> None:
        self._request = request
        self._card = card
        places = spread(len(held_out), VALIDATION_PAIRS)
        chosen = [held_out.pair(index) for index in places]
        self._label = held_out.labels(places)
        if chosen:
            self._target, self._source = (torch.stack(side) for side in zip(*chosen, strict=True))
        self.scores: dict[str, float] = {}

    def __call__(self, denoiser: Denoiser, step: int) -> dict[str, float]:
        """Score the denoiser, write a row and a sheet of pictures."""
        with torch.no_grad():
            loss = self._loss(denoiser)
        results = self._translate(denoiser)
        self.scores = {"loss": loss}
        if not self._request.is_prior:  # what it makes has nothing to be compared with
            self.scores |= {
                "mse": float((results - self._target).square().mean()),
                "blank_mse": float((1 - self._target).square().mean()),
            }
        self._record(step, results)
        return self.scores

    def card(self, fit: Fit) -> ModelCard:
        """Return the card as it stands after the steps done so far."""
        recipe = fit.recipe
        training = {
            "pictures" if self._request.is_prior else "pairs": len(fit.batches),
            "steps": fit.step,
            "seconds": round(fit.seconds),
            "batch_size": recipe.batch_size,
            "precision": recipe.precision,
            "device": fit.device.type,
            "torch": torch.__version__,
        }
        if self._request.start_from:
            training["began_with"] = Path(self._request.start_from).name
        held_out = {name: round(value, 5) for name, value in self.scores.items()}
        what = "validation_pictures" if self._request.is_prior else "validation_pairs"
        scores = {what: len(self._target), **held_out} if held_out else {}
        return dataclasses.replace(self._card, training=training, scores=scores)

    def _loss(self, denoiser: Denoiser) -> float:
        count = len(self._target)
        device = next(denoiser.parameters()).device
        law = build(TIME_DISTRIBUTIONS, self._request.times, what="time distribution")
        times = law.times(denoiser.path, (torch.arange(count) + 0.5) / count)
        eps = NoiseSource(0, [f"validation {index}" for index in range(count)])(self._target)
        columns = [tensor.to(device) for tensor in (self._target, self._source, times, eps)]
        losses = []
        for first in range(0, count, 16):
            part = slice(first, first + 16)
            target, source, t, noise = (column[part] for column in columns)
            told = Conditions(None if self._label is None else self._label[part].to(device))
            losses.append(denoising_loss(denoiser, target, source, t, noise, told))
        return float(torch.cat(losses).mean())

    def _translate(self, denoiser: Denoiser) -> Tensor:
        model = TranslationModel(self._card, denoiser)
        plan = model.plan()
        results = []
        sources = self._source[:SHEET_SAMPLES] if self._request.is_prior else self._source
        for first in range(0, len(sources), 16):
            part = sources[first : first + 16]
            noise = NoiseSource(0, [f"validation {first + index}" for index in range(len(part))])
            label = None if self._label is None else self._label[first : first + len(part)]
            results.append(finish(model.told(label).translate(part, noise, plan)))
        return torch.cat(results).clamp(-1, 1)

    def _record(self, step: int, results: Tensor) -> None:
        shown = spread(len(results), SHEET_PAIRS)
        columns = (
            [results] if self._request.is_prior else [side[shown] for side in (self._source, results, self._target)]
        )
        sheet = self._request.output / "samples" / f"step_{step:07d}.png"
        sheet.parent.mkdir(parents=True, exist_ok=True)
        save_picture(contact_sheet(columns, columns=12 // len(columns)), sheet)
        table = self._request.output / "results.csv"
        fresh = not table.exists()
        with table.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["step", *self.scores])
            if fresh:
                writer.writeheader()
            writer.writerow({"step": step, **self.scores})
