"""Run the methods of a comparison: each is a `translate` into its own folder, with the sampling time measured.

Finished images and the times of batches stay in that folder, so a comparison that was stopped resumes.
"""

import json
import statistics
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ddbm_cli import __version__
from ddbm_cli.comparison import Input, Method, Outcome
from ddbm_cli.foundation import files
from ddbm_cli.foundation.errors import DdbmError, ImageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture, open_picture, read_file
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.prompts import Prompts
from ddbm_cli.methods import method_of
from ddbm_cli.models import TranslationModel, loading
from ddbm_cli.models.card import FORWARD, describe_card
from ddbm_cli.models.seen import TRAINING, UNKNOWN, split_of
from ddbm_cli.registry.locate import Locating
from ddbm_cli.samplers import Plan
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.bench_sources import Sources, match_targets
from ddbm_cli.tasks.bench_strips import strips
from ddbm_cli.tasks.conditions import JobConditions
from ddbm_cli.tasks.events import (
    BatchStarted,
    Evaluated,
    Event,
    Failed,
    Finished,
    Kept,
    Made,
    Noticed,
    Planned,
    Written,
)
from ddbm_cli.tasks.recreate import command
from ddbm_cli.tasks.request import in_words
from ddbm_cli.tasks.scores import score
from ddbm_cli.tasks.show import prompt_of
from ddbm_cli.tasks.workspace import Workspace, read_small_json

TIMED_CALLS = 3
"""Network evaluations that are timed to convert a budget of seconds into one of evaluations."""

BATCH = 8
"""Default number of images that are sampled together."""

LONGEST = 1e6
"""Seconds per image; a recorded time above it is not one of ours."""


@dataclass
class _Timing:
    """The sampling time of each batch, in seconds per image; kept in a file, for a comparison that resumes."""

    file: Path
    batches: list[float]

    @classmethod
    def at(cls, folder: Path) -> "_Timing":
        file = folder / "timing.json"
        found = read_small_json(file)
        values = found if isinstance(found, list) else []
        numbers = [float(value) for value in values if isinstance(value, int | float) and 0 <= value < LONGEST]
        return cls(file, numbers)

    def add(self, seconds: float) -> None:
        self.batches.append(seconds)
        files.write_text(self.file, json.dumps(self.batches))

    @property
    def median(self) -> float:
        """The median over all batches except the first, a warm-up, where there are more."""
        return statistics.median(self.batches[1:] or self.batches or [0.0])


class Bench:
    """Runs methods on one set of inputs. Models that several methods share are loaded once.

    targets: those of the inputs. broken: why inputs cannot be read. texts: prompts of the inputs.

    Args:
        jobs: the inputs, with outputs below the workspace's folder.
        workspace: where unfinished work is kept.
        targets: the targets, a file or a folder with the inputs' names.
        common: options of `translate` that all methods share: source, prompts, seed, device, dtype ...
        seconds: budget per image of the methods that specify none.
        trajectories: number of inputs whose trajectory is kept, the first ones.
        prepare: how inputs are prepared.
        exclude: files that are never inputs.

    Raises:
        UsageError: there are no such targets.
    """

    def __init__(
        self,
        jobs: list[Job],
        workspace: Workspace,
        *,
        targets: Path | None,
        common: dict[str, Any],
        seconds: float | None,
        trajectories: int,
        prepare: str,
        exclude: Sequence[Path] = (),
    ) -> None:
        self.targets = match_targets(jobs, targets)
        self.device = ""
        self.sources = Sources(prepare, common, lambda: workspace.claim("prepared"))
        self.broken: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self._jobs = jobs
        self._workspace = workspace
        self._common = common
        self._seconds = seconds
        self._trajectories = trajectories
        self._exclude = exclude
        self._models: dict[tuple[str | None, str], TranslationModel] = {}
        self._preprocess = Preprocess(size=64)

    def outcome(self, method: Method) -> Generator[Event, None, Outcome]:
        """Run a method. An error that stops it becomes its outcome."""
        try:
            asked = self._ask(method)
            load = partial(self.load, direction=method.direction or FORWARD)
            model = yield from method_of(asked).load(asked, load)
            self.device = self.device or str(model.device)
            return (yield from self._measure(self._within_seconds(method, model), model))
        except DdbmError as error:
            yield Failed(source=Path(method.label), message=f"{method.label}: {error.message}", hint=error.hint)
            return Outcome(label=method.label, series=method.label, error=error.message, hint=error.hint)

    def inputs(self) -> Generator[Event, None, tuple[Input, ...]]:
        """Return the inputs as the last model received them; report targets that cannot be read."""
        found = []
        for job in self._jobs:
            error, image, target = self.broken.get(job.name, ""), None, None
            try:
                image = None if error else self._as_received(self.sources.file(job.source))
            except ImageError as unreadable:
                error = unreadable.message
            try:
                target = self._as_received(self.targets[job.name]) if job.name in self.targets else None
            except ImageError as unreadable:
                del self.targets[job.name]
                yield Failed(source=job.source, message=f"target {unreadable.message}", hint=unreadable.hint)
            split = UNKNOWN if error else self._split(job.source)
            text = self.texts.get(job.name, "")
            found.append(Input(name=job.name, image=image, target=target, split=split, prompt=text, error=error))
        return tuple(found)

    def _split(self, source: Path) -> str:
        """Return the split that the models agree on. One model that was trained on the image is enough."""
        try:
            splits = {split_of(model.card.seen, source) for model in self._models.values()}
        except (OSError, ValueError, ArithmeticError):  # an image that disappeared, or filters that are damaged
            return UNKNOWN
        return TRAINING if TRAINING in splits else splits.pop() if len(splits) == 1 else UNKNOWN

    def _as_received(self, file: Path) -> bytes:
        tensor, placement = self._preprocess.forward(open_picture(file))
        return encode_picture(self._preprocess.inverse(tensor, placement), "png")

    def begin(self, reference: str | None, direction: str = FORWARD) -> Locating[None]:
        """Load the model of the request, and prepare inputs as it expects.

        Raises:
            ModelError: it is not available.
            UsageError: no such device, dtype or preparation.
        """
        self.sources.prepare_for((yield from self.load(reference, direction)), reference)

    def load(self, reference: str | None, direction: str = FORWARD) -> Locating[TranslationModel]:
        """Load a direction of a model, once.

        Raises:
            ModelError: it is not available.
            UsageError: no such device or dtype.
        """
        key = (reference, direction)
        if key not in self._models:
            where = {name: self._common[name] for name in ("device", "dtype", "compile", "graph")}
            self._models[key] = yield from loading(reference, direction=direction, **where)
        model = self._models[key]
        self.device = str(model.device)
        return model

    def _ask(self, method: Method, **more: Any) -> translate.TranslateRequest:
        return translate.request(
            **self._common, **method.options(), **more, format="png", **self.sources.options(method)
        )

    def _within_seconds(self, method: Method, model: TranslationModel) -> Method:
        """Convert the budget of seconds, if there is one, into network evaluations, by timing some."""
        if self._seconds is None or method.own_budget:
            return method
        asked = self._ask(method)
        plan = method_of(asked).plan(asked, model)
        least = replace(plan, steps=1).nfe
        own, batch = model.card.preprocess, min(self._common["batch_size"] or BATCH, len(self._jobs))
        blank = torch.ones(batch, 3, own.height, own.width)
        asked_for = self._conditions(asked, model).applied(model, self._jobs[:batch])
        calls = asked_for.translate(blank, torch.zeros_like, plan.within(TIMED_CALLS + least))
        next(calls)  # warms up
        began = time.perf_counter()
        made = sum(1 for _ in calls)
        each = (time.perf_counter() - began) / max(made, 1) / batch
        return replace(method, nfe=max(int(self._seconds / each), least))

    def _conditions(self, asked: translate.TranslateRequest, model: TranslationModel) -> JobConditions:
        """Return the class or the prompts of the inputs."""
        prompts = Prompts(asked.prompt, asked.prompts)
        prompts.assign(self._jobs, beside=model.takes_text)
        return JobConditions(asked, model, prompts)

    def _measure(self, method: Method, model: TranslationModel) -> Generator[Event, None, Outcome]:
        folder = self._workspace.claim(
            _digest(method.options(), self._common, self.sources.options(method), model.digest)
        )
        asked = self._ask(method, output=folder)
        plan = method_of(asked).plan(asked, model)
        failed = yield from self._translate(asked, folder, model, method.label)
        ready = [job for job in self._jobs if job.name not in failed]
        done = {job.name: folder / job.output.relative_to(self._workspace.folder) for job in ready}
        self._preprocess = model.card.preprocess
        sources = {job.name: job.source for job in self._jobs}
        received = {job.name: self.sources.file(job.source) for job in ready}
        texts = {name: text for name, file in done.items() if (text := prompt_of(file))}
        self.texts |= texts
        scores, figures, intervals = score(done, received, self.targets, texts=texts, seed=self._common["seed"])
        model_of = partial(self._conditions(asked, model).applied, model.without_graph())
        batch = 1 if method_of(asked).one_by_one else self._common["batch_size"] or BATCH
        followed, opened = ready[: self._trajectories], self.sources.picture
        return Outcome(
            label=f"{method.label}, {plan.nfe} NFE",
            series=method.label,
            model=model.name,
            digest=model.digest,
            reference=method.reference or model.name,
            card={name: value for name, value in describe_card(model.card).items() if name != "seen"},
            sampling=in_words(plan),
            conditions=dict(method.conditions),
            off_budget=_off_budget(plan, method.nfe),
            steps=plan.steps,
            nfe=plan.nfe,
            seconds=_Timing.at(folder).median,
            images={name: read_file(file) for name, file in done.items()},
            commands=dict(_commands(done, sources, method)),
            strips=strips(model_of, plan, followed, opened, seed=asked.seed, batch=batch),
            scores=scores,
            figures=figures,
            intervals=intervals,
            failed=failed,
        )

    def _translate(
        self, asked: translate.TranslateRequest, folder: Path, model: TranslationModel, label: str
    ) -> Generator[Event, None, dict[str, str]]:
        """Make a method's images; return the inputs that failed, with the reason.

        Images from a stopped comparison whose record does not fit, for example of a changed input, are created again.
        """
        failed: dict[str, str] = {}
        stale = yield from self._once(asked, folder, model, label, failed)
        if stale:
            for file in stale:
                file.unlink(missing_ok=True)
            failed.clear()
            yield from self._once(asked, folder, model, label, failed)
        return failed

    def _once(
        self,
        asked: translate.TranslateRequest,
        folder: Path,
        model: TranslationModel,
        label: str,
        failed: dict[str, str],
    ) -> Generator[Event, None, list[Path]]:
        names = {job.source: job.name for job in self._jobs}
        timing, stale = _Timing.at(folder), []
        started, clock = BatchStarted(images=0, nfe=0), 0.0
        for event in translate.run(asked, model=model, exclude=self._exclude, remembered=self.sources.remembered):
            if isinstance(event, BatchStarted):
                started, clock = event, time.perf_counter()
            if isinstance(event, Evaluated) and event.nfe == started.nfe:
                timing.add((time.perf_counter() - clock) / started.images)
            if isinstance(event, Written | Kept | Failed) and event.source not in names:
                continue  # not one of the inputs: already reported, or put there since they were listed
            if isinstance(event, Failed):
                name = names[event.source]
                failed[name] = event.message
                if name not in self.broken:
                    self.broken[name] = event.message
                    yield event
                    continue
            if isinstance(event, Kept) and event.differs:
                stale.append(event.output)
            elif isinstance(event, Written | Kept | Failed):
                yield Made(text=f"{label}: {names[event.source]}")
            elif isinstance(event, Noticed):
                yield replace(event, message=f"{label}: {event.message}")
            elif not isinstance(event, Planned | Finished):
                yield event
        return stale


def _digest(*deciding: object) -> str:
    """Return a name for everything that decides a method's images."""
    return sha256(json.dumps([__version__, *deciding], sort_keys=True, default=str).encode())[:16]


def _commands(done: Mapping[str, Path], sources: Mapping[str, Path], method: Method) -> Iterator[tuple[str, str]]:
    """Yield the commands that recreate a method's images, of those whose record can be read."""
    for name, file in done.items():
        with suppress(DdbmError):
            models = {"--model": method.reference, "--source-model": method.source}
            yield name, command(file, source=sources[name], models=models)


def _off_budget(plan: Plan, nfe: int | None) -> str:
    """Return why a plan does not meet a budget of network evaluations, "" if it does."""
    if nfe is None or plan.nfe == nfe:
        return ""
    steps = plan.steps + 1 if plan.nfe < nfe else plan.steps - 1
    other = f", {steps} take {replace(plan, steps=steps).nfe}" if steps >= 1 else ""
    return f"{plan.steps} steps take {plan.nfe} network evaluations{other}."
