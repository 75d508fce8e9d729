"""Train a bridge on pairs, or a prior on pictures; a run is a folder, and going on with it is the default.

RUN/config.json            the resolved request
RUN/state.safetensors      what resumes the run
RUN/model.safetensors      averaged weights with their card, ready for `ddbm translate -m`
RUN/best.safetensors       the same, at the lowest validation loss
RUN/results.csv            a row for each validation
RUN/samples/step_N.png     source | result | truth, for some held-out pairs; of a prior, samples
"""

import csv
import dataclasses
import json
import math
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import pydantic
import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import PREDICTIONS, Conditions, Denoiser
from ddbm_cli.errors import UsageError
from ddbm_cli.imaging.io import save_picture
from ddbm_cli.imaging.pairs import Pair, PairSplit, find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import ModelCard, TranslationModel, assemble, locate, write_model
from ddbm_cli.models.card import Defaults, read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.models.model import choose_device
from ddbm_cli.models.seen import remember
from ddbm_cli.models.start_from import start_from
from ddbm_cli.networks import NETWORKS
from ddbm_cli.objectives import OBJECTIVES, TIME_DISTRIBUTIONS, Adversarial, denoising_loss
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import GRIDS, SAMPLERS, NoiseSource, finish
from ddbm_cli.settings import build, describe, settings, spell
from ddbm_cli.tasks.events import Planned
from ddbm_cli.training import Batches, Fit, Recipe, Saved, Stepped, Validated

TrainEvent = Planned | Stepped | Validated | Saved

VALIDATION_PAIRS = 64
SHEET_PAIRS = 12
SHEET_SAMPLES = 24
MEASURED_PAIRS = 512

FROM_SOURCE: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    # Steps that are finer towards the target, and a first one close to the source, where colours are decided.
    "grid": {"name": "karras", "rho": 3.0, "gap": 1e-4},
    "start": {"name": "booted"},
    "steps": 9,
}
FROM_NOISE: Defaults = {
    "sampler": {"name": "heun", "churn": 0.0},
    "grid": {"name": "karras", "rho": 7.0},
    "start": {"name": "prior"},
    "steps": 18,
}
AT_ONCE: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "karras", "rho": 7.0, "gap": 0.0},
    "start": {"name": "pinned"},
    "steps": 1,
}
FREE = ", ".join(name for name, path in PATHS.items() if path.source_free)


@settings
class Sampling:
    """How the model is to be sampled where a user does not say, in shell forms; it goes into the card.

    None leaves a choice to what suits its kind of path.
    """

    sampler: str | None = None
    grid: str | None = None
    steps: Annotated[int, Field(ge=1)] | None = None


@settings
class TrainRequest:
    """What to train, on what, and what to call it.

    data: folders of pairs; see `imaging.pairs` for their layouts. output: the run's folder.
    task: words, "sketch -> picture". "prior", or words that begin with "->", mean a prior: of the data only targets
        are used, the network gets no source, and what is not given is as in `PRIOR`.
    network, path, prediction, times, objective: settings in their shell form, such as "adm:channels=64". A
        preconditioned prediction whose sigmas are not given gets those of the data. With objective "pix2pix", what is
        not given is as in `PIX2PIX`.
    sees_source: the network gets the source beside the state; without it, the state alone, as rectified flow's and
        I2SB's do, where the state begins as the source.
    classes: the network is told of each pair the uppermost folder that it lies in, as its class. drop: share of the
        training in which the source is left out, the label, and both, so that guidance has what it combines; if not
        given, `DROP` with classes.
    start_from: a model, as after -m, whose weights the run begins with; network, path, prediction and size are its own
        where they are not given.
    size: pixels of a side. augment: see `training.batches`. val_share: held out where the layout does not say.
    hours: stop then, to be resumed; None for no limit.
    """

    data: tuple[Path, ...]
    output: Path
    network: str = "adm:channels=48,multipliers=1-2-2-3,blocks=1,attention=4-8,head_channels=24,patch=2"
    path: str = "vp-bridge"
    prediction: str = "preconditioned:clock=log-snr"
    times: str = "arcsine"
    objective: str = "denoising"
    sees_source: bool = True
    classes: bool = False
    drop: Annotated[float, Field(ge=0, le=0.33)] = 0.0
    start_from: str | None = None
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    size: Annotated[int, Field(ge=8)] = 64
    augment: tuple[str, ...] = ("flip", "shift")
    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    hours: Annotated[float, Field(gt=0)] | None = None
    device: str = "auto"
    name: str = "bridge"
    task: str = "source -> target"
    licence: str = "not stated"
    data_note: str = "not stated"
    limits: str = "not stated"


PRIOR = {"path": "ve", "times": "log-normal:mean=-0.8,std=1.4", "name": "prior", "augment": ["flip"]}
"""What a prior has where a bridge has the defaults of `TrainRequest`."""

PIX2PIX = {
    "path": "rectified",
    "prediction": "x0",
    "times": "uniform",
    "name": "pix2pix",
    "recipe": {"learning_rate": 2e-4, "momentum": 0.5, "weight_decay": 0.0, "ema": 0.0, "clip_norm": 1e9},
}
"""What pix2pix has where a bridge has the defaults of `TrainRequest`: the paper's settings."""

DROP = 0.05
"""InstructPix2Pix's share (arXiv:2211.09800)."""

PRIOR_TASK = "-> picture"


def _is_prior(task: str) -> bool:
    return task == "prior" or task.startswith("->")


def request(given: Mapping[str, Any], *, config: Path | None = None, resume: Path | None = None) -> TrainRequest:
    """Resolve a request: what is given wins over the config file, which wins over the run that is resumed.

    Raises:
        UsageError: a file is missing or not readable, or a value is unknown or out of range.
    """
    body: dict[str, Any] = {}
    if resume is not None:
        body = _read(resume / "config.json", json.loads, hint="name the folder of a run, the -o of its ddbm train")
    if config is not None:
        body = _merge(body, _read(config, tomllib.loads, hint="name a TOML file of settings"))
    body = _merge(body, given)
    if _is_prior(str(body.get("task", ""))):
        body = PRIOR | body | ({"task": PRIOR_TASK} if body["task"] == "prior" else {})
    if str(body.get("objective", "")).startswith(Adversarial.name):
        halvings = (int(body.get("size", 64)) & -int(body.get("size", 64))).bit_length() - 1
        body = _merge({"network": f"pix2pix:depth={min(halvings, 8)}", **PIX2PIX}, body)
    if body.get("classes"):
        body = {"drop": DROP} | body
    if body.get("start_from") and resume is None:
        body = _settings_of(locate(str(body["start_from"]))) | body
    if not body.get("data"):
        raise UsageError("nothing to train on", hint="name a folder of pairs: ddbm train DATA")
    try:
        return pydantic.TypeAdapter(TrainRequest).validate_python(body)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]).replace("_", "-").removeprefix("recipe.")
        raise UsageError(f"--{place} {first['input']}: {first['msg']}", hint="see: ddbm train --help") from None


def run(
    request: TrainRequest, *, stop: Callable[[], bool] = lambda: False, dry_run: bool = False
) -> Iterator[TrainEvent]:
    """Train, or go on training; yields what happens. `stop` is asked between steps; a dry run ends after the plan.

    Raises:
        UsageError: data or settings cannot be used, or the folder holds a run with other settings.
    """
    pairs = find_pairs(request.data, val_share=request.val_share, targets_only=_is_prior(request.task))
    preprocess = Preprocess(size=request.size)
    device = choose_device(request.device)
    classes = _classes(pairs) if request.classes else ()
    batches = _batches(request, pairs, preprocess, classes)
    seen = {} if dry_run else remember(_files(pairs.train), _files(pairs.val))
    card = dataclasses.replace(_card(request, batches, classes), seen=seen)
    torch.manual_seed(request.recipe.seed)
    denoiser = assemble(card).to(device)
    begun = request.start_from is not None and not (request.output / "state.safetensors").exists()
    notes = start_from(denoiser.network, locate(request.start_from)) if begun else []
    multiple = cast(int, denoiser.network.size_multiple)
    if request.size % multiple:
        raise UsageError(f"--size {request.size} does not fit this network", hint=f"choose a multiple of {multiple}")
    _claim(request, write=not dry_run)
    objective = build(OBJECTIVES, request.objective, what="objective")
    held_out = Batches(pairs.val, preprocess, size=1, seed=request.recipe.seed, classes=classes)
    judge = _Judge(request, card, held_out)
    fit = Fit(
        denoiser,
        batches,
        build(TIME_DISTRIBUTIONS, request.times, what="time distribution"),
        request.recipe,
        loss=objective.create(device),
        state=request.output / "state.safetensors",
        validate=judge if len(held_out) else None,
    )
    facts = _facts(request, pairs, card, denoiser, device, notes)
    yield Planned(total=request.recipe.steps, kept=fit.step, facts=facts)
    if dry_run:
        return
    deadline = math.inf if request.hours is None else time.monotonic() + 3600 * request.hours
    for event in fit.run(stop=lambda: stop() or time.monotonic() > deadline):
        if isinstance(event, Validated) and event.best:
            write_model(request.output / "best.safetensors", judge.card(fit), _weights(fit))
        if isinstance(event, Saved):
            write_model(request.output / "model.safetensors", judge.card(fit), _weights(fit))
        yield event


def _settings_of(file: Path) -> dict[str, Any]:
    """Return what a run that begins with a model has from it."""
    card = read_card(read_header(file), file=file.name)
    network = {name: value for name, value in card.network.items() if name not in ("classes", "in_channels")}
    return {
        "network": spell(build(NETWORKS, network, what="network")),
        "path": spell(build(PATHS, card.path, what="path")),
        "prediction": spell(build(PREDICTIONS, card.prediction, what="prediction")),
        "size": card.preprocess.size,
    }


def _read(path: Path, parse: Callable[[str], dict[str, Any]], *, hint: str) -> dict[str, Any]:
    try:
        return parse(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable ({error})", hint=hint) from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for table in ("recipe", "sampling"):
        if table in below and table in above:
            merged[table] = {**below[table], **above[table]}
    return merged


class _Judge:
    """Looks at the averaged weights on held-out pairs: the loss at fixed times and noise, and real translations."""

    def __init__(self, request: TrainRequest, card: ModelCard, held_out: Batches) -> None:
        self._request = request
        self._card = card
        self._is_prior = _is_prior(card.task)
        places = _spread(len(held_out), VALIDATION_PAIRS)
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
        if not self._is_prior:  # what it makes has nothing to be compared with
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
            "pictures" if self._is_prior else "pairs": len(fit.batches),
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
        what = "validation_pictures" if self._is_prior else "validation_pairs"
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
        sources = self._source[:SHEET_SAMPLES] if self._is_prior else self._source
        for first in range(0, len(sources), 16):
            part = sources[first : first + 16]
            noise = NoiseSource(0, [f"validation {first + index}" for index in range(len(part))])
            label = None if self._label is None else self._label[first : first + len(part)]
            results.append(finish(model.told(label).translate(part, noise, plan)))
        return torch.cat(results).clamp(-1, 1)

    def _record(self, step: int, results: Tensor) -> None:
        shown = _spread(len(results), SHEET_PAIRS)
        columns = [results] if self._is_prior else [side[shown] for side in (self._source, results, self._target)]
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


def _spread(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` indices, evenly spread over `count`."""
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]


def _batches(request: TrainRequest, pairs: PairSplit, preprocess: Preprocess, classes: Sequence[str]) -> Batches:
    return Batches(
        pairs.train,
        preprocess,
        size=request.recipe.batch_size,
        seed=request.recipe.seed,
        augment=request.augment,
        classes=classes,
        drop=request.drop,
    )


def _classes(pairs: PairSplit) -> tuple[str, ...]:
    """Return the names of the classes, sorted."""
    names = sorted({pair.folder for pair in pairs.train})
    odd = [pair.target for pair in (*pairs.train, *pairs.val) if not pair.folder or pair.folder not in names]
    if odd:
        raise UsageError(
            f"{odd[0]} lies in no folder of a class that there is to train on",
            hint="put every picture into a folder of its class: A/cat/1.png and B/cat/1.png; or leave out --classes",
        )
    return tuple(names)


def _files(pairs: Sequence[Pair]) -> Iterator[Path]:
    return (file for pair in pairs for file in (pair.source, pair.target) if file)


def _defaults(asked: Sampling, usual: Defaults) -> Defaults:
    """Return how to sample: what is asked, else what is usual."""
    chosen = usual.copy()
    if asked.sampler is not None:
        chosen["sampler"] = describe(build(SAMPLERS, asked.sampler, what="sampler"))
    if asked.grid is not None:
        chosen["grid"] = describe(build(GRIDS, asked.grid, what="grid"))
    if asked.steps is not None:
        chosen["steps"] = asked.steps
    return chosen


def _card(request: TrainRequest, batches: Batches, classes: tuple[str, ...]) -> ModelCard:
    is_prior = _is_prior(request.task)
    path = build(PATHS, request.path, what="path")
    prediction = describe(build(PREDICTIONS, request.prediction, what="prediction"))
    if prediction["name"] == "preconditioned" and "sigma" not in request.prediction:
        measured = _measure(batches)
        prediction |= {"sigma_data": measured["sigma_data"]} if is_prior else measured
    if is_prior and not path.source_free:
        raise UsageError(f"path '{path.name}' needs a source, and a prior has none", hint="choose one of: " + FREE)
    network = describe(build(NETWORKS, request.network, what="network"))
    sees_source = request.sees_source and not is_prior
    if not sees_source and not is_prior and (path.source_free or network["name"] == "pix2pix"):
        raise UsageError("without the source, this network would know nothing of it", hint="leave out --blind")
    if classes and "classes" not in network:
        raise UsageError(f"network '{network['name']}' cannot be told classes", hint="leave out --classes")
    if request.drop and not classes and not sees_source:
        raise UsageError("there is no condition that could be left out", hint="leave out --drop")
    usual = FROM_NOISE if path.source_free else AT_ONCE if network["name"] == "pix2pix" else FROM_SOURCE
    return ModelCard(
        name=request.name,
        task=request.task,
        network=network
        | ({} if sees_source else {"in_channels": network["out_channels"]})
        | ({"classes": len(classes)} if classes else {}),
        path=describe(path),
        prediction=prediction,
        preprocess=Preprocess(size=request.size),
        sees_source=sees_source,
        classes=classes,
        drop=request.drop,
        defaults=_defaults(request.sampling, usual),
        licence=request.licence,
        data=request.data_note,
        limits=request.limits,
    )


def _measure(batches: Batches) -> dict[str, float]:
    """Return root mean squares of target and source, and the mean of their product."""
    chosen = [batches.pair(index) for index in _spread(len(batches), MEASURED_PAIRS)]
    target, source = (torch.stack(side) for side in zip(*chosen, strict=True))
    sigmas = {"sigma_data": target.square().mean().sqrt(), "sigma_source": source.square().mean().sqrt()}
    return {name: round(float(value), 4) for name, value in (sigmas | {"cov": (target * source).mean()}).items()}


def _weights(fit: Fit) -> dict[str, Tensor]:
    return {name: tensor.half() for name, tensor in fit.averaged.network.state_dict().items()}


def _claim(request: TrainRequest, *, write: bool) -> None:
    """Write the resolved request, or see that the run in the folder has the same one.

    Length, budget, device and what only the card tells may differ: those a resumed run may change.
    """
    file = request.output / "config.json"
    kind = pydantic.TypeAdapter(TrainRequest)
    body: dict[str, Any] = kind.dump_python(request, mode="json")
    if file.exists():
        # A setting that is newer than the run has the value that it always had.
        before = kind.dump_python(kind.validate_python(json.loads(file.read_text())), mode="json")
        odd = [name for name in _fixed(body) if _fixed(body)[name] != _fixed(before).get(name)]
        if odd:
            raise UsageError(
                f"{request.output} holds a run with another {odd[0]}",
                hint=f"go on with it by: ddbm train --resume {request.output}; or give another -o",
            )
    if not write:
        return
    request.output.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(body, indent=1) + "\n")
    temporary.replace(file)


def _fixed(body: dict[str, Any]) -> dict[str, Any]:
    card = ("name", "task", "licence", "data_note", "limits", "sampling")
    loose = ("output", "hours", "device", "recipe", "data", *card)
    recipe = {name: body["recipe"][name] for name in ("batch_size", "seed", "precision")}
    return {**{name: value for name, value in body.items() if name not in loose}, **recipe}


def _facts(
    request: TrainRequest,
    pairs: PairSplit,
    card: ModelCard,
    denoiser: Denoiser,
    device: torch.device,
    notes: Sequence[str],
) -> dict[str, str]:
    weights = sum(parameter.numel() for parameter in denoiser.parameters())
    recipe = request.recipe
    is_prior = _is_prior(card.task)
    what = "pictures" if is_prior else "pairs"
    kinds = f" of {len(card.classes)} classes" if card.classes else ""
    unpaired = "" if is_prior else f", {len(pairs.unpaired)} unpaired"
    facts = {
        "Data": f"{len(pairs.train)} {what}{kinds} to train on, {len(pairs.val)} held out{unpaired}",
        "Model": f"{card.network['name']} {weights / 1e6:.2f} M parameters, {request.size}x{request.size}",
        **({"Begins": ", but ".join([f"with {request.start_from}", *notes])} if request.start_from else {}),
        "Path": f"{request.path}, prediction {_brief(card.prediction)}",
        "Recipe": f"{recipe.steps} steps of {recipe.batch_size}, rate {recipe.learning_rate:g}, ema {recipe.ema:g}",
        "Device": f"{device}, {recipe.precision}",
        "Run": str(request.output),
    }
    return facts


def _brief(setting: dict[str, Any]) -> str:
    fields = ", ".join(f"{name}={value}" for name, value in setting.items() if name != "name")
    return f"{setting['name']} ({fields})" if fields else str(setting["name"])
