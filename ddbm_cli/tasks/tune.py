"""Tune a model: search sampler and times for small budgets, and store them in its card.

Everything that is measured is kept next to the output until the command is done, in a folder OUTPUT.tuning, so that an
interrupted command resumes, and ends with the same file.
"""

import dataclasses
import json
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Tuned
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.pairs import Pair, find_pairs
from ddbm_cli.models import ModelCard, TranslationModel, loading, write_model
from ddbm_cli.models.checkpoint import open_tensors, write_tensors
from ddbm_cli.models.load import open_model
from ddbm_cli.models.resolve import locating
from ddbm_cli.models.seen import HELD_OUT, split_of
from ddbm_cli.options.tune import TuneRequest
from ddbm_cli.registry import Entry, parse
from ddbm_cli.samplers import NoiseSource, Plan, finish
from ddbm_cli.samplers.tuning import Setting, search, start_of, teacher, trials_at_most
from ddbm_cli.tasks.events import Event, Finished, Made, Noticed, Planned
from ddbm_cli.training.batches import Batches

TuneEvent = Event | Tuned
SCORES, SOLUTION = "scores.json", "solution.safetensors"

DIVERGED = 1e30
"""Distance of results that contain NaN or infinity."""


def run(request: TuneRequest) -> Iterator[TuneEvent]:
    """Search the settings of all budgets, and write the model file with them.

    Raises:
        UsageError: too few images, an output that exists or cannot be written, or a model that cannot be tuned.
        ModelError: the model is not available, or damaged.
    """
    began = time.monotonic()
    output = _output(request)
    model = yield from loading(request.model, device=request.device, dtype=request.dtype)
    file = yield from locating(request.model)
    _check(model)
    images = _Images(model, request)
    yield from images.notes
    budgets = list(dict.fromkeys(request.nfe))
    tuning = _Tuning(model, images, request, output)
    options: dict[str, Any] = {"prior": model.is_prior, "sweeps": request.sweeps, "places": request.places}
    total = sum(trials_at_most(tuning.path, nfe, **options) for nfe in budgets)
    yield Planned(total=total, facts=_facts(request, model, images, output, tuning), unit="trials")
    yield from tuning.solve(request.teacher)
    tuned = dict(model.card.tuned)
    for nfe in budgets:
        done = yield from tuning.tune(nfe, **options)
        tuned[str(nfe)] = done  # type: ignore[assignment]
    with open_model(file) as (card, tensors):
        weights = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a dict
    write_model(output, dataclasses.replace(card, tuned=tuned), weights)
    tuning.forget()
    yield Finished(
        written=len(budgets), kept=0, failed=0, seconds=time.monotonic() - began, output=output, word="tuned"
    )


def _output(request: TuneRequest) -> Path:
    """Return the file to write.

    Raises:
        UsageError: it exists, or none is given and the model is no file that can be changed.
    """
    found = parse(request.model)
    if request.output is not None:
        same = isinstance(found, Path) and request.output.exists() and found.samefile(request.output)
        if request.output.exists() and not same and not request.overwrite:
            raise UsageError(f"{request.output} exists already", hint="choose another output, or pass --overwrite")
        return request.output
    if isinstance(found, Entry):
        what = "is built in" if found.builtin else "is a download"
    elif not isinstance(found, Path):
        what = "is a download"
    elif found.is_dir():
        what = "is a folder in diffusers' layout"
    elif not os.access(found, os.W_OK) or not os.access(found.parent, os.W_OK):
        what = "cannot be written"
    else:
        return found
    raise UsageError(f"model '{request.model}' {what}, and is not changed", hint="pass -o FILE.safetensors for a copy")


def _check(model: TranslationModel) -> None:
    card = model.card
    if card.markov:
        raise UsageError(
            f"model '{model.name}' is a Markov process, whose sampler has nothing to tune",
            hint="use another number of steps: --nfe",
        )
    if model.direction:
        raise UsageError(
            f"model '{model.name.removesuffix(f'-{model.direction}')}' has two directions, and one is tuned at a time",
            hint="export one first: ddbm weights export MODEL one.safetensors --direction AtoB",
        )
    for wrong, what in ((card.inpainting, "is an inpainting model"), (card.text_conditional, "takes a text")):
        if wrong:
            raise UsageError(
                f"model '{model.name}' {what}, and cannot be tuned", hint="tune a model without a mask or text"
            )


class _Images:
    """The images of the search, and as many others, which measure what it gained: sources, targets and labels."""

    def __init__(self, model: TranslationModel, request: TuneRequest) -> None:
        found = find_pairs(request.data, val_share=request.val_share, targets_only=model.is_prior)
        pairs = [pair for pair in found.train if not _is_held_out(model.card, pair)]
        self.notes = []
        if len(pairs) < 2 * request.images:
            self.notes.append(
                Noticed(message=f"{len(pairs)} images, fewer than twice --images: half of them for the search")
            )
        count = min(request.images, len(pairs) // 2)
        if count < 2:
            raise UsageError(f"{len(pairs)} images that are not held out are too few", hint="pass 4 images or more")
        step = len(pairs) / (2 * count)
        chosen = [pairs[int(place * step)] for place in range(2 * count)]
        chosen = chosen[::2] + chosen[1::2]
        classes = model.card.class_names
        batches = Batches(chosen, model.card.preprocess, size=1, seed=0, memory=0)
        both = [batches.pair(place) for place in range(len(chosen))]
        self.names = [pair.name for pair in chosen]
        self.targets = torch.stack([target for target, _ in both])
        self.sources = torch.stack([target if model.is_prior else source for target, source in both])
        if model.is_prior:
            self.sources = torch.zeros_like(self.sources)
        labels = [classes.index(pair.class_name) if pair.class_name in classes else NO_LABEL for pair in chosen]
        self.labels = torch.tensor(labels)
        if model.classes and not model.card.condition_dropout and NO_LABEL in labels:
            raise UsageError(
                f"model '{model.name}' needs a class for every image", hint="put images into class folders"
            )
        self.count = count
        self.has_targets = not model.is_prior


def _is_held_out(card: ModelCard, pair: Pair) -> bool:
    files = [file for file in (pair.source, pair.target) if isinstance(file, Path)]
    return bool(card.seen) and any(split_of(card.seen, file) == HELD_OUT for file in files)


class _Tuning:
    """Trials of one model, kept in a folder next to the output."""

    def __init__(self, model: TranslationModel, images: _Images, request: TuneRequest, output: Path) -> None:
        self._model, self._images, self._request = model, images, request
        start = start_of(model.denoiser.path, prior=model.is_prior)
        self.path, self._start = start.path(model.denoiser.path), start
        self._folder = output.with_name(f"{output.name}.tuning")
        arrays = [images.sources.numpy().tobytes(), images.targets.numpy().tobytes(), repr(images.labels).encode()]
        facts = (model.digest, [sha256(each) for each in arrays], images.names, request.teacher, request.seed)
        self._identity = sha256(repr(facts).encode())
        self._scores: dict[str, float] = {}
        self._read()

    @property
    def measured(self) -> int:
        """Number of trials that an interrupted command left."""
        return len(self._scores)

    def _read(self) -> None:
        file = self._folder / SCORES
        if not file.is_file():
            return
        with suppress(ValueError, TypeError):  # damaged: everything is measured again
            body = parse_json(file.read_bytes())
            if isinstance(body, dict) and body.get("of") == self._identity and isinstance(body.get("scores"), dict):
                self._scores = {str(key): float(value) for key, value in body["scores"].items()}

    def _keep(self, key: str, value: float) -> float:
        self._scores[key] = value
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._folder / SCORES, json.dumps({"of": self._identity, "scores": self._scores}))
        return value

    def forget(self) -> None:
        """Remove what was kept, and the folder where nothing else is in it."""
        with suppress(OSError):
            for name in (SCORES, SOLUTION):
                (self._folder / name).unlink(missing_ok=True)
            self._folder.rmdir()

    def _sampled(self, plan: Plan, rows: Sequence[int]) -> Tensor:
        """Return the results (B, 3, H, W) of rows of the images."""
        made = []
        for first in range(0, len(rows), self._request.batch_size):
            part = list(rows[first : first + self._request.batch_size])
            model = self._model.with_conditions(self._images.labels[part]) if self._model.classes else self._model
            noise = NoiseSource(self._request.seed, [self._images.names[row] for row in part])
            made.append(finish(model.translate(self._images.sources[part], noise, plan)))
        return torch.cat(made)

    def solve(self, nfe: int) -> Iterator[TuneEvent]:
        """Compute the solutions of many evaluations, or read them."""
        file = self._folder / SOLUTION
        if file.is_file() and self._scores:
            with open_tensors(file) as opened:
                self._solution = opened.get_tensor("solution")
            return
        plan = teacher(self.path, nfe, prior=self._model.is_prior)
        self._solution = self._sampled(plan, range(2 * self._images.count))
        if not bool(self._solution.isfinite().all()):
            raise ModelError(f"model '{self._model.name}': a result contains NaN or infinity", hint="use --dtype fp32")
        write_tensors(file, {"solution": self._solution}, {"format": "pt"})
        self._keep("", 0.0)
        yield Noticed(message=f"the solution of {plan.nfe} evaluations is computed")

    def _distance(self, plan: Plan, rows: Sequence[int]) -> float:
        results = self._sampled(plan, rows)
        far = (results - self._solution[list(rows)]).square().flatten(1).mean(1).sqrt().mean()
        return float(far) if bool(far.isfinite()) else DIVERGED

    def _error(self, plan: Plan, rows: Sequence[int]) -> float:
        """Return the mean squared error to the targets."""
        results = self._sampled(plan, rows).clamp(-1, 1)
        return float((results - self._images.targets[list(rows)]).square().mean())

    def tune(self, nfe: int, **options: Any) -> Generator[TuneEvent, None, dict[str, Any]]:
        """Search the settings of one budget; yield every trial, return the card's entry."""
        began, count, trials = time.monotonic(), self._images.count, 0
        whole, few = range(count), range(max(1, count // 4))
        searching = search(self.path, nfe, **options)
        try:
            trial = next(searching)
            while True:
                key = f"{nfe} {'all' if trial.whole else 'few'} {trial.setting.key}"
                distance = self._scores.get(key)
                if distance is None:
                    plan = trial.setting.plan(self._model.denoiser.path, self._start)
                    distance = self._keep(key, self._distance(plan, whole if trial.whole else few))
                trials += 1
                yield Made(text=f"{nfe} evaluations: {spell(trial.setting.sampler)}: {distance:.4f}")
                trial = searching.send(distance)
        except StopIteration as stop:
            best: Setting = stop.value[0]
        plan = best.plan(self._model.denoiser.path, self._start)
        before = dataclasses.replace(self._model.card, tuned={})
        usual = _with_card(self._model, before).plan(nfe=nfe)
        figures = [self._figures(f"{nfe} {name}", each) for name, each in (("before", usual), ("after", plan))]
        (distance_before, error_before), (distance_after, error_after) = figures
        yield Tuned(
            nfe=nfe,
            sampler=spell(plan.sampler),
            grid=spell(plan.grid),
            before=distance_before,
            after=distance_after,
            error_before=error_before,
            error_after=error_after,
            images=count,
            trials=trials,
            seconds=time.monotonic() - began,
        )
        return {**plan.describe(), "distance": round(distance_after, 5), "distance_before": round(distance_before, 5)}

    def _figures(self, key: str, plan: Plan) -> tuple[float, float | None]:
        """Return distance and error on the images that the search did not use."""
        rows = range(self._images.count, 2 * self._images.count)
        distance = self._scores.get(f"{key} distance")
        if distance is None:
            distance = self._keep(f"{key} distance", self._distance(plan, rows))
        if not self._images.has_targets:
            return distance, None
        error = self._scores.get(f"{key} error")
        return distance, self._keep(f"{key} error", self._error(plan, rows)) if error is None else error


def _with_card(model: TranslationModel, card: ModelCard) -> TranslationModel:
    return TranslationModel(card, model.denoiser, model.codec, digest=model.digest)


def _facts(
    request: TuneRequest, model: TranslationModel, images: _Images, output: Path, tuning: _Tuning
) -> dict[str, str]:
    facts = {
        "Model": model.name,
        "Images": f"{images.count} for the search, {images.count} to measure the gain",
        "Budgets": ", ".join(map(str, dict.fromkeys(request.nfe))),
        "Aim": f"{request.teacher} evaluations with the same noise",
        "Output": str(output),
    }
    return facts | ({"Resumed": f"{tuning.measured} trials are measured already"} if tuning.measured else {})
