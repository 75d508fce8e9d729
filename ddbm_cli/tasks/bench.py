"""The bench of a comparison: each method is a `translate` into a folder of its own, with its time taken.

Finished pictures and the timings of batches stay in that folder, so a bench that was stopped goes on.
"""

import json
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ddbm_cli import __version__
from ddbm_cli.comparison import Input, Method, Outcome, Strip
from ddbm_cli.foundation.errors import DdbmError, ImageError, UsageError
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture, open_picture, write_atomically
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.imaging.walk import list_images, stem_key
from ddbm_cli.methods import method_of
from ddbm_cli.methods.conditions import conditioned
from ddbm_cli.models import TranslationModel, loading
from ddbm_cli.models.card import describe_card
from ddbm_cli.models.splits import TRAINING, UNKNOWN, split_of
from ddbm_cli.registry.locate import Locating
from ddbm_cli.samplers import NoiseSource, Plan
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.events import BatchStarted, Evaluated, Event, Failed, Finished, Kept, Made, Planned, Written
from ddbm_cli.tasks.recreate import command
from ddbm_cli.tasks.request import in_words
from ddbm_cli.tasks.scores import score

TIMED_CALLS = 3
"""Network evaluations by which a budget of seconds is turned into one of evaluations."""

BATCH = 8
"""Pictures that are sampled together, where nobody says."""

COLUMNS = 12
"""Evaluations of a trajectory that are kept, at most."""


@dataclass
class _Timing:
    """The seconds that each batch spent sampling, a picture; kept in a file, for a comparison that goes on."""

    file: Path
    batches: list[float]

    @classmethod
    def at(cls, folder: Path) -> "_Timing":
        file = folder / "timing.json"
        try:
            return cls(file, [float(value) for value in json.loads(file.read_text())])
        except (OSError, ValueError, TypeError):
            return cls(file, [])

    def add(self, seconds: float) -> None:
        self.batches.append(seconds)
        write_atomically(self.file, json.dumps(self.batches).encode())

    @property
    def median(self) -> float:
        """Of all batches but the first, which warms up, where there are more."""
        return statistics.median(self.batches[1:] or self.batches or [0.0])


class Bench:
    """Runs methods on one set of inputs; models that several methods share are loaded once.

    Args:
        jobs: the inputs, with outputs below `parts`, the folder of half-done work.
        targets: the truth, a file or a folder of the same names.
        common: options of `translate` that all methods share: source, seed, device, dtype, batch_size, recursive.
        seconds: budget of a picture for methods that name none.
        trajectories: inputs whose way is kept, the first ones.

    Raises:
        UsageError: there are no such targets.
    """

    def __init__(
        self,
        jobs: list[Job],
        parts: Path,
        *,
        targets: Path | None,
        common: dict[str, Any],
        seconds: float | None,
        trajectories: int,
    ) -> None:
        self.targets = _match(jobs, targets)
        self.device = ""
        self._jobs = jobs
        self._parts = parts
        self._common = common
        self._seconds = seconds
        self._trajectories = trajectories
        self._models: dict[str | None, TranslationModel] = {}
        self._preprocess = Preprocess(size=64)

    def outcome(self, method: Method) -> Generator[Event, None, Outcome]:
        """Run a method; what stops it is its outcome."""
        try:
            asked = self._ask(method)
            model = yield from method_of(asked).load(asked, self.load)
            return (yield from self._measure(self._within_seconds(method, model), model))
        except DdbmError as error:
            yield Failed(source=Path(method.label), message=f"{method.label}: {error.message}", hint=error.hint)
            return Outcome(label=method.label, error=error.message, hint=error.hint)

    def inputs(self) -> Iterator[Input]:
        """Yield the inputs that can be read, as the last model saw them."""
        for job in self._jobs:
            target = self.targets.get(job.name)
            with suppress(ImageError):
                yield Input(
                    name=job.name,
                    picture=self._as_seen(job.source),
                    target=self._as_seen(target) if target else None,
                    split=self._split(job.source),
                )

    def _split(self, source: Path) -> str:
        """Return the split that the models agree on; one that was trained on the picture is enough to spoil it."""
        splits = {split_of(model.card.splits, source) for model in self._models.values()}
        return TRAINING if TRAINING in splits else splits.pop() if len(splits) == 1 else UNKNOWN

    def _as_seen(self, file: Path) -> bytes:
        tensor, placement = self._preprocess.forward(open_picture(file))
        return encode_picture(self._preprocess.inverse(tensor, placement), "png")

    def load(self, reference: str | None) -> Locating[TranslationModel]:
        """Load a model, once.

        Raises:
            ModelError: it cannot be had.
            UsageError: no such device or dtype.
        """
        if reference not in self._models:
            where = {"device": self._common["device"], "dtype": self._common["dtype"]}
            self._models[reference] = yield from loading(reference, **where)
        model = self._models[reference]
        self.device = str(model.device)
        return model

    def _ask(self, method: Method, **more: Any) -> translate.TranslateRequest:
        return translate.request(**self._common, **method.options(), **more, format="png")

    def _within_seconds(self, method: Method, model: TranslationModel) -> Method:
        """Turn the budget of seconds, if there is one, into network evaluations, by timing some."""
        if self._seconds is None or method.nfe is not None or method.steps is not None:
            return method
        asked = self._ask(method)
        plan = method_of(asked).plan(asked, model)
        least = replace(plan, steps=1).nfe
        size, batch = model.card.preprocess.size, min(self._common["batch_size"] or BATCH, len(self._jobs))
        calls = model.translate(torch.ones(batch, 3, size, size), torch.zeros_like, plan.within(TIMED_CALLS + least))
        next(calls)  # warms up
        began = time.perf_counter()
        made = sum(1 for _ in calls)
        each = (time.perf_counter() - began) / max(made, 1) / batch
        return replace(method, nfe=max(int(self._seconds / each), least))

    def _measure(self, method: Method, model: TranslationModel) -> Generator[Event, None, Outcome]:
        folder = self._parts / _digest(method.options(), self._common, model.digest)
        asked = self._ask(method, output=folder)
        plan = method_of(asked).plan(asked, model)
        failed = yield from self._translate(asked, folder, model, method.label)
        done = {job.name: folder / job.output.relative_to(self._parts) for job in self._jobs if job.name not in failed}
        shown = [job for job in self._jobs if job.name in done]
        sources = {job.name: job.source for job in self._jobs}
        self._preprocess = model.card.preprocess
        scores, figures = score(done, sources, self.targets)
        return Outcome(
            label=f"{method.label}, {plan.nfe} NFE",
            model=model.name,
            card={name: value for name, value in describe_card(model.card).items() if name != "splits"},
            sampling=in_words(plan),
            steps=plan.steps,
            nfe=plan.nfe,
            seconds=_Timing.at(folder).median,
            pictures={name: file.read_bytes() for name, file in done.items()},
            commands={
                name: command(
                    file, source=sources[name], models={"--model": method.model, "--source-model": method.source}
                )
                for name, file in done.items()
            },
            strips=self._strips(conditioned(asked, model), plan, shown[: self._trajectories]),
            scores=scores,
            figures=figures,
            failed=failed,
        )

    def _translate(
        self, asked: translate.TranslateRequest, folder: Path, model: TranslationModel, label: str
    ) -> Generator[Event, None, dict[str, str]]:
        """Make a method's pictures; return the inputs that failed, with the reason."""
        folder.mkdir(parents=True, exist_ok=True)
        names = {job.source: job.name for job in self._jobs}
        timing, failed = _Timing.at(folder), {}
        started, clock = BatchStarted(images=0, nfe=0), 0.0
        for event in translate.run(asked, model=model):
            if isinstance(event, BatchStarted):
                started, clock = event, time.perf_counter()
            if isinstance(event, Evaluated) and event.nfe == started.nfe:
                timing.add((time.perf_counter() - clock) / started.images)
            if isinstance(event, Failed) and event.source not in names:
                continue  # not an input: it was reported when the inputs were listed
            if isinstance(event, Failed):
                failed[names[event.source]] = event.message
            if isinstance(event, Written | Kept | Failed):
                yield Made(text=f"{label}: {names[event.source]}")
            elif not isinstance(event, Planned | Finished):
                yield event
        return failed

    def _strips(self, model: TranslationModel, plan: Plan, jobs: Sequence[Job]) -> dict[str, Strip]:
        """Return the trajectories of some inputs; the same noise makes the same pictures as before."""
        count = min(COLUMNS, nfe := plan.nfe)
        wanted = {1 + round(index * (nfe - 1) / max(count - 1, 1)) for index in range(count)}
        batch = min(self._common["batch_size"] or BATCH, len(jobs))
        ways = {}
        for first in range(0, len(jobs), batch or 1):
            part = jobs[first : first + batch]
            source = torch.stack([model.card.preprocess.forward(open_picture(job.source))[0] for job in part])
            noise = NoiseSource(self._common["seed"], [job.name for job in part])
            kept = [call for call in model.translate(source, noise, plan) if call.nfe in wanted]
            for index, job in enumerate(part):
                frames = torch.stack([call.x[index] for call in kept] + [call.x0[index] for call in kept]).float().cpu()
                ways[job.name] = Strip(
                    picture=encode_picture(contact_sheet([frames], columns=count, gap=0), "webp", quality=90),
                    times=tuple(call.t for call in kept),
                    calls=tuple(call.nfe for call in kept),
                )
        return ways


def _digest(*deciding: object) -> str:
    """Return a name for what decides a method's pictures."""
    return sha256(json.dumps([__version__, *deciding], sort_keys=True).encode())[:16]


def _match(jobs: list[Job], targets: Path | None) -> dict[str, Path]:
    """Return the truth of each input that has one.

    Raises:
        UsageError: there is no such folder, or nothing in it fits.
    """
    if targets is None:
        return {}
    if targets.is_file():
        return {jobs[0].name: targets}
    if not targets.is_dir():
        raise UsageError(f"{targets}: no such folder", hint="name the folder with the true pictures")
    found = list_images(targets).stems()
    matched = {job.name: found[key] for job in jobs if (key := stem_key(job.name)) in found}
    if not matched:
        raise UsageError(f"{targets}: no picture is named like an input", hint="give source and truth the same names")
    return matched
