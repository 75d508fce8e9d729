"""Compare methods on the same pictures, and write what came out as a page or a table.

The half-done work stands beside the output until that is written, so an interrupted comparison goes on where it
stopped. A method that cannot run costs its own column.
"""

import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ddbm_cli import __version__
from ddbm_cli.comparison import Comparison, Input, Method, Outcome, parse_methods
from ddbm_cli.comparison.page import as_html
from ddbm_cli.comparison.tables import as_csv, as_json, as_markdown, rows
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import STANDARD, Jobs, plan_jobs
from ddbm_cli.imaging.io import encode_picture, open_picture, write_atomically
from ddbm_cli.imaging.sheet import Picture, labelled_sheet
from ddbm_cli.models import builtin_path
from ddbm_cli.models.splits import TRAINING
from ddbm_cli.options.check import from_options
from ddbm_cli.options.compare import CompareRequest
from ddbm_cli.tasks.bench import Bench
from ddbm_cli.tasks.events import Event, Failed, Finished, Planned, Written
from ddbm_cli.tasks.scores import metrics

MOST_ROWS = 64
"""Inputs in a grid of pictures."""


def _as_png(comparison: Comparison) -> bytes:
    """Return a grid: a row for each of the first inputs, a column for each method."""
    shown = comparison.inputs[:MOST_ROWS]
    columns: dict[str, list[Picture | None]] = {"source": [open_picture(each.picture) for each in shown]}
    for outcome in comparison.outcomes:
        found = [outcome.pictures.get(each.name) for each in shown]
        columns[outcome.label] = [open_picture(body) if body else None for body in found]
    if any(each.target for each in shown):
        columns["target"] = [open_picture(each.target) if each.target else None for each in shown]
    return encode_picture(labelled_sheet(columns), "png")


WRITERS = {".html": as_html, ".json": as_json, ".csv": as_csv, ".md": as_markdown, ".png": _as_png}

FEW = 50
"""Pictures of which a mean still moves with every one."""

FEW_OF_A_SET = 2048
"""Pictures of which a figure of the set, such as FID, depends on their number still."""


def request(**given: Any) -> CompareRequest:
    """Return the request for what is given; what is None is left to its default.

    Raises:
        UsageError: a value is out of its range.
    """
    return from_options(
        CompareRequest, {name: value for name, value in given.items() if value is not None}, command="compare"
    )


def run(request: CompareRequest) -> Iterator[Event]:
    """Run all methods on all inputs and write the comparison; yields what happens.

    Raises:
        UsageError: no such method, no input, or an output that cannot be written.
        ModelError: the model of the request cannot be had.
    """
    began = time.monotonic()
    _check(request)
    methods = parse_methods(request.methods, model=request.model, nfe=request.nfe)
    source = request.source or str(builtin_path().parent / "sketches")
    parts = request.outputs[0].with_name(f".{request.outputs[0].name}.parts")
    plan = plan_jobs(source, parts, recursive=request.recursive, format="png", exclude=request.outputs)
    jobs = plan.jobs
    common = {name: getattr(request, name) for name in ("seed", "device", "dtype", "batch_size", "recursive")}
    bench = Bench(
        jobs,
        parts,
        targets=request.targets,
        common={"source": source, **common},
        seconds=request.seconds,
        trajectories=request.trajectories,
    )
    if any(method.model == request.model for method in methods):
        yield from bench.load(request.model)  # what all methods want and nobody has is no matter of one column
    yield Planned(total=len(jobs) * len(methods) + len(request.outputs), facts=_facts(request, source, plan, methods))
    for problem in plan.problems:
        yield Failed(source=problem.path, message=problem.message, hint=problem.hint)
    outcomes: list[Outcome] = []
    for method in methods:
        outcome = yield from bench.outcome(method)
        outcomes.append(outcome)
    inputs = tuple(bench.inputs())
    comparison = Comparison(
        inputs=inputs,
        outcomes=_told_apart(outcomes),
        metrics={each.label: (each.recipe, each.higher_is_better) for each in metrics(targets=bool(bench.targets))},
        facts=_machine(request, bench.device),
        warnings=tuple(_warnings(methods, outcomes, inputs, targets=len(bench.targets))),
    )
    for output in request.outputs:
        write_atomically(output, WRITERS[output.suffix.lower()](comparison))
        yield Written(source=Path(source), output=output, record={"rows": rows(comparison)})
    shutil.rmtree(parts, ignore_errors=True)
    yield Finished(
        written=0 if all(outcome.error for outcome in outcomes) else len(request.outputs),
        kept=0,
        failed=len(plan.problems) + sum(len(outcome.failed) + bool(outcome.error) for outcome in outcomes),
        seconds=time.monotonic() - began,
        output=request.outputs[0],
    )


def _check(request: CompareRequest) -> None:
    for output in request.outputs:
        if output.suffix.lower() not in WRITERS:
            raise UsageError(f"{output}: unknown kind of report", hint=f"end it with one of: {', '.join(WRITERS)}")
        if output.exists() and not request.overwrite:
            raise UsageError(f"{output} is there already", hint="name another with -o, or add --overwrite")
    if request.source == STANDARD:
        raise UsageError("a comparison cannot read standard input", hint="name files or a folder")
    if request.nfe is not None and request.seconds is not None:
        raise UsageError("--nfe and --seconds are two budgets", hint="give one of them")


def _facts(request: CompareRequest, source: str, plan: Jobs, methods: list[Method]) -> dict[str, str]:
    budget = f"{request.nfe} NFE a picture" if request.nfe else "of each method its own"
    budget = f"{request.seconds:g} s a picture" if request.seconds else budget
    return {
        "Input": f"{len(plan.jobs)} pictures of {source}" + (f"; left out: {plan.skipped}" if plan.skipped else ""),
        "Methods": ", ".join(method.label for method in methods),
        "Budget": f"{budget}, seed {request.seed}",
        "Output": ", ".join(map(str, request.outputs)),
    }


def _machine(request: CompareRequest, device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{device} ({name}), {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seed": str(request.seed),
        "program": f"ddbm {__version__}, Python {platform.python_version()}",
    }


def _told_apart(outcomes: list[Outcome]) -> tuple[Outcome, ...]:
    """Add the model's name to labels that several methods share."""
    labels = [outcome.label for outcome in outcomes]
    return tuple(
        replace(each, label=f"{each.label}, {each.model}") if labels.count(each.label) > 1 else each
        for each in outcomes
    )


def _warnings(
    methods: list[Method], outcomes: list[Outcome], inputs: Sequence[Input], *, targets: int
) -> Iterator[str]:
    known = sum(each.split == TRAINING for each in inputs)
    if known:
        yield f"{known} of {len(inputs)} inputs are training pictures of a model: their scores are not fair."
    ran = [outcome for outcome in outcomes if not outcome.error]
    for first, second in pairwise(sorted(ran, key=lambda outcome: outcome.steps)):
        if first.steps == second.steps and first.nfe != second.nfe:
            yield f"{first.label} and {second.label} take equal steps, but not equal work: compare their NFE."
    if len({outcome.nfe for outcome in ran}) > 1:
        yield "The methods differ in network evaluations: --nfe gives all the same budget."
    guided = ", ".join(method.label for method in methods if method.is_guided)
    if guided:
        yield f"Guided: {guided}. There an evaluation makes up to three estimates, and takes as much longer."
    if 0 < targets < len(inputs):
        yield f"Scores are of {targets} of {len(inputs)} inputs: the others have no target."
    if 0 < targets < FEW:
        yield f"{targets} pictures are few: small differences between means may be chance."
    sets = sorted({label for outcome in ran for label in outcome.figures})
    if sets and targets < FEW_OF_A_SET:
        yield f"{' and '.join(sets)}: of {targets} pictures as a set, to be compared within this table only."
