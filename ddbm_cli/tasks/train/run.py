"""A training run, in its folder: begun, gone on with, or only planned."""

import dataclasses
import json
import math
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pydantic
import torch
from torch import Tensor

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.devices import choose_device
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Trained
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.pairs import Pair, PairSplit, find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import ModelCard, assemble, locate, write_model
from ddbm_cli.models.splits import remember
from ddbm_cli.models.start_from import start_from
from ddbm_cli.objectives import OBJECTIVES, TIME_DISTRIBUTIONS
from ddbm_cli.tasks.events import Planned
from ddbm_cli.tasks.train.card import card_of, classes_of
from ddbm_cli.tasks.train.judge import Judge
from ddbm_cli.tasks.train.request import TrainRequest
from ddbm_cli.training import Batches, Fit, Saved, Stepped, Validated

MOST_NAMED = 5
"""Files that are named in one line of the header, at most."""

TrainEvent = Planned | Stepped | Validated | Saved | Trained


def run(
    request: TrainRequest, *, stop: Callable[[], bool] = lambda: False, dry_run: bool = False
) -> Iterator[TrainEvent]:
    """Train, or go on training; yields what happens. `stop` is asked between steps; a dry run ends after the plan.

    Raises:
        UsageError: data or settings cannot be used, or the folder holds a run with other settings.
    """
    pairs = find_pairs(
        request.data, val_share=request.val_share, targets_only=request.is_prior, exclude=(request.output,)
    )
    preprocess = Preprocess(size=request.size)
    device = choose_device(request.device)
    classes = classes_of(pairs) if request.classes else ()
    batches = _batches(request, pairs, preprocess, classes)
    seen = {} if dry_run else remember(_files(pairs.train), _files(pairs.val))
    card = dataclasses.replace(card_of(request, batches, classes), splits=seen)
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
    judge = Judge(request, card, held_out)
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
    yield Planned(total=request.recipe.steps, kept=fit.step, facts=facts, unit="steps")
    if dry_run:
        return
    deadline = math.inf if request.hours is None else time.monotonic() + 3600 * request.hours
    for event in fit.run(stop=lambda: stop() or time.monotonic() > deadline):
        if isinstance(event, Validated) and event.best:
            write_model(request.output / "best.safetensors", judge.card(fit), _weights(fit))
        if isinstance(event, Saved):
            write_model(request.output / "model.safetensors", judge.card(fit), _weights(fit))
        yield event
    unfinished = fit.step < request.recipe.steps
    run = shlex.quote(str(request.output))
    use = f"ddbm sample -o samples -m {run}" if request.is_prior else f"ddbm translate INPUT OUTPUT -m {run}"
    yield Trained(
        output=request.output / "model.safetensors",
        run=request.output,
        step=fit.step,
        total=request.recipe.steps,
        stopped=unfinished and stop(),
        next_command=f"ddbm train --resume {run}" if unfinished else use,
    )


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


def _files(pairs: Sequence[Pair]) -> Iterator[Path]:
    return (file for pair in pairs for file in (pair.source, pair.target) if file)


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
    write_text(file, json.dumps(body, indent=1) + "\n")


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
    what = "pictures" if request.is_prior else "pairs"
    kinds = f" of {len(card.class_names)} classes" if card.class_names else ""
    unpaired = "" if request.is_prior else f", {len(pairs.unpaired)} unpaired"
    left_out = [str(pairs.skipped)] if pairs.skipped else []
    left_out += [problem.message for problem in pairs.broken[:MOST_NAMED]]
    left_out += [f"{len(pairs.broken) - MOST_NAMED} more missing files"] if len(pairs.broken) > MOST_NAMED else []
    facts = {
        "Data": f"{len(pairs.train)} {what}{kinds} to train on, {len(pairs.val)} held out{unpaired}",
        "Folders": "; ".join(pairs.folders),
        **({"Left out": "; ".join(left_out)} if left_out else {}),
        **({"Note": "; ".join(pairs.notes)} if pairs.notes else {}),
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
