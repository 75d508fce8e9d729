"""A training run in its folder: begun, resumed, or only planned."""

import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ddbm_cli.codecs import Codec
from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.devices import choose_device
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Noticed, Sampled, Trained
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.degrade import multiple_of
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models.assemble import assemble_new, outline, size_multiple
from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.models.codecs import digest_of_codec
from ddbm_cli.models.seen import joined, remember
from ddbm_cli.objectives import METHODS, OBJECTIVES, TIME_DISTRIBUTIONS, Objective
from ddbm_cli.options.checkpoints import name_of
from ddbm_cli.options.recipe import AUTO
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.events import Planned
from ddbm_cli.tasks.train.automatic import with_largest_batch
from ddbm_cli.tasks.train.beginning import NOTES, Beginning, begin
from ddbm_cli.tasks.train.card import card_of
from ddbm_cli.tasks.train.crossing import can_validate, validation_of
from ddbm_cli.tasks.train.data import Data, files_of, load_data
from ddbm_cli.tasks.train.distill import context_of
from ddbm_cli.tasks.train.estimate import estimate
from ddbm_cli.tasks.train.facts import differences, facts_of, trained
from ddbm_cli.tasks.train.folder import DEFAULT, RunFolder, changes, claimed, images_of, place, write_config
from ddbm_cli.tasks.train.guards import check_memory, explained, unreadable
from ddbm_cli.tasks.train.labels import Labels
from ddbm_cli.tasks.train.results import Results
from ddbm_cli.tasks.train.unpaired import couplings_of, denoiser_of, load_sides
from ddbm_cli.tasks.train.watching import Watch
from ddbm_cli.training import Batches, Budget, Fit, Saved, Stepped, Validated
from ddbm_cli.training.averages import Averages
from ddbm_cli.training.batches import Stream
from ddbm_cli.training.couplings import Couplings
from ddbm_cli.training.processes import Processes, connected
from ddbm_cli.training.trackers import chosen

TrainEvent = Planned | Stepped | Validated | Sampled | Saved | Noticed | Trained


def run(
    request: TrainRequest, *, stop: Callable[[], bool] = lambda: False, dry_run: bool = False
) -> Iterator[TrainEvent]:
    """Train, or resume training; yields what happens.

    Where a launcher started several processes, each calls this, and the main one alone writes files.

    Args:
        request: what to train. Where its folder holds the very same run, that run is resumed.
        stop: called between steps; if it returns True, the state is saved and the run ends.
        dry_run: end after the plan, with what some real steps need; nothing is written.

    Raises:
        UsageError: data or settings cannot be used, or the folder holds another run.
        DdbmError: the run diverged, its folder is in use, or its files cannot be read or written.
    """
    began = time.monotonic()
    device = choose_device(request.device)
    with connected(device) as processes:
        yield from _run(request, device, processes, stop=stop, dry_run=dry_run, began=began)


def _run(
    request: TrainRequest,
    device: torch.device,
    processes: Processes,
    *,
    stop: Callable[[], bool],
    dry_run: bool,
    began: float,
) -> Iterator[TrainEvent]:
    trackers, unit = chosen(request.tracker), request.compute.accumulate
    loss: Objective = (
        build(METHODS, request.method, what="method")
        if request.is_distilled
        else build(OBJECTIVES, request.objective, what="objective")
    )
    distribution = build(TIME_DISTRIBUTIONS, request.times, what="time distribution")
    load = load_sides if request.is_unpaired else load_data
    data = load(request, exclude=(request.resume or request.output or DEFAULT,))
    request, pairs, batches = data.request, data.pairs, data.batches
    splits = remember(files_of(pairs.train), files_of(pairs.val))
    images = images_of(pairs, splits)
    folder, elsewhere = place(request, images)
    differs = changes(folder, request, images) if request.resume else []
    codec = data.codec.to(device)
    if data.labels.features:
        data.labels.features.encoder.to(device)
    data.use_latents(folder.latents, processes.rank, writes=False)
    card = card_of(request, batches, data.labels, folder=folder.path, codec=codec, codec_setting=data.codec_setting)
    with torch.device("meta"):
        _check_size(request, size_multiple(assemble_new(card), codec))
    check_memory(outline(card), device, adapts=bool(request.lora))

    def begun(asked: TrainRequest) -> tuple[Denoiser, Beginning]:
        torch.manual_seed(asked.recipe.seed)
        denoiser = denoiser_of(card).to(device)
        return denoiser, begin(asked, denoiser, folder, data.labels.classes)

    def fitted(asked: TrainRequest, denoiser: Denoiser) -> Fit:
        stream: Stream = (
            batches
            if isinstance(batches, Batches)
            else couplings_of(asked, card, batches, denoiser, folder=None if dry_run else folder.path)
        )
        fit = Fit(
            denoiser,
            stream,
            distribution,
            asked.recipe,
            loss=loss.create(context_of(asked, card, codec, device, processes)),
            state=folder.state,
            begin=_begin(asked, folder),
            from_noise=asked.is_prior,
            compute=asked.compute,
            processes=processes,
        )
        if isinstance(stream, Couplings):
            stream.averages = fit.averages
        return fit

    with ExitStack() as held:
        if (is_auto := request.recipe.batch_size == AUTO) and isinstance(batches, Batches):
            request = with_largest_batch(
                request, folder, batches, lambda asked: fitted(asked, begun(asked)[0]), processes
            )
        held.enter_context(explained(request, folder, processes))
        denoiser, beginning = begun(request)
        if not dry_run and processes.is_main:
            folder = held.enter_context(claimed(request, images))
        fit = fitted(request, denoiser)
        _same_parts(fit, codec, data.labels, request)
        budget = _budget(request, fit, began)
        facts = facts_of(
            request,
            data,
            card,
            denoiser,
            device,
            folder=folder,
            fit=fit,
            budget=budget,
            notes=beginning.started.notes,
            trained=beginning.words,
            changes=differs,
            elsewhere=elsewhere,
        )
        if is_auto:
            facts["Recipe"] += "; the batch size is the largest that fits"
        fit.notes["seen"] = joined(_seen(fit, folder), splits)
        if beginning.notes:
            fit.notes[NOTES] = beginning.notes
        validates = can_validate(data.held_out, card)
        if not (processes.is_main or dry_run):
            fit.validate = _by_main if validates else None
            yield Planned(total=request.recipe.steps, kept=fit.step, facts=facts, unit="steps")
            with _kept_latents(data, folder, fit, processes):
                yield from fit.run(stop=stop, budget=budget)
            processes.meet()
            yield trained(request, folder, fit)
            return
        results = Results(folder.results, step=fit.step, kept=dry_run)
        card = dataclasses.replace(card, seen=fit.notes["seen"])
        options = {"codec": codec, "results": results, "samples": folder.samples, "stop": stop}
        validation = validation_of(data.held_out, request, card, **options)
        if dry_run:
            validate = partial(validation.expected, fit.averages) if validates else None
            facts |= estimate(fit, folder, unit=unit, budget=budget, validate=validate)
        planned = Planned(total=request.recipe.steps, kept=fit.step, facts=facts, unit="steps")
        if dry_run:
            yield planned
            yield from differences(beginning.started, request)
            return
        if validates:
            fit.validate, fit.pace.validation_size = validation, validation.size
        fit.require_room(4 * sum(parameter.numel() for parameter in denoiser.parameters()))
        write_config(folder, request, images)
        yield planned
        yield from differences(beginning.started, request)
        watch = Watch(folder, request, facts, fit=fit, results=results, trackers=trackers)
        held.callback(watch.close)
        held.enter_context(_kept_latents(data, folder, fit, processes))
        for event in fit.run(stop=stop, budget=budget):
            if isinstance(event, Validated) and event.best:
                beginning.write(folder.best, validation.card(fit), fit, codec, separate=request.separate)
            watch.see(event)
            yield from watch.notices()
            if isinstance(event, Saved):
                beginning.write(folder.model, validation.card(fit), fit, codec, separate=request.separate)
            yield event
            if isinstance(event, Validated):
                yield validation.sampled(event.step)
            for error in batches.new_failures():
                yield Noticed(message=f"{error.message}; another pair is used instead", hint=error.hint)
        processes.meet()
        if fit.losses.skipped:
            yield Noticed(message=f"{fit.losses.skipped} steps were skipped: their loss or gradient was not finite")
        yield trained(request, folder, fit)


def _begin(request: TrainRequest, folder: RunFolder) -> Path | None:
    """Return the checkpoint that a run is resumed from, None for its newest state.

    Raises:
        UsageError: there is no such checkpoint.
    """
    if request.from_step is None:
        return None
    file = folder.checkpoints / name_of(request.from_step)
    if not file.is_file():
        raise UsageError(
            f"{file}: no such checkpoint", hint="pass the folder of the run, or a file in its checkpoints/"
        )
    return file


@contextmanager
def _kept_latents(data: Data, folder: RunFolder, fit: Fit, processes: Processes) -> Iterator[None]:
    """Keep latents in the run's folder until the run ends and need not be resumed."""
    data.use_latents(folder.latents, processes.rank, writes=True)
    yield
    if fit.is_over:
        data.forget_latents()


def _by_main(averages: Averages, step: int) -> dict[str, float]:
    """Stand for a validation, which the main process does."""
    raise AssertionError


def _check_size(request: TrainRequest, multiple: int) -> None:
    size = Preprocess(size=request.size)
    for what, factor in (("this network", multiple), (request.source, multiple_of(request.source))):
        if size.width % factor or size.height % factor:
            shown = size.width if size.width == size.height else size.words
            raise UsageError(f"--size {shown} does not fit {what}", hint=f"choose a multiple of {factor}")


def _same_parts(fit: Fit, codec: Codec, labels: Labels, request: TrainRequest) -> None:
    """Raise if the run was begun with another autoencoder or text encoder, whose results mean something else."""
    parts: list[tuple[str, str, str | None, str]] = []
    if request.codec:
        parts.append(("codec", "autoencoder", request.codec, digest_of_codec(codec)))
    if labels.features:
        parts.append(("text_encoder", "text encoder", request.text_encoder, labels.features.facts.sha256))
    for name, what, reference, digest in parts:
        if fit.notes.setdefault(name, digest) != digest:
            raise UsageError(
                f"{reference}: not the {what} that the run was begun with",
                hint="restore its files, or begin another run",
            )


def _budget(request: TrainRequest, fit: Fit, began: float) -> Budget | None:
    """Return the time budget: what an interrupted session left of the same one, or a new one."""
    if request.hours is None:
        return None
    seconds, before = 3600 * request.hours, fit.notes.get("budget", {})
    numbers = [before.get(key, 0.0) for key in ("seconds", "used")] if isinstance(before, dict) else ["damaged"]
    if not all(isinstance(number, int | float) and 0 <= number < math.inf for number in numbers):
        raise unreadable(fit.state)
    same = before.get("seconds") == seconds and not before.get("done")
    return Budget(seconds, before.get("used", 0.0) if same else 0.0, began)


def _seen(fit: Fit, folder: RunFolder) -> Mapping[str, str]:
    """Return the filters of the images that the run has been trained on so far."""
    if not fit.step:
        return {}
    seen: Any = fit.notes.get("seen")
    if seen is None:  # a run of a release that kept them in the model alone
        try:
            return read_card(read_header(folder.model), file=folder.model.name).seen
        except ModelError:
            return {}
    if not isinstance(seen, dict) or not all(
        isinstance(text, str) and re.fullmatch("[A-Za-z0-9+/=,]*", text) for text in seen.values()
    ):
        raise unreadable(fit.state)
    return seen
