"""Compare methods on the same images, and write the result as a page or a table.

Unfinished work is kept next to the output until that is written, so an interrupted comparison resumes where it
stopped. A method that cannot run is reported and its column stays empty.
"""

import platform
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ddbm_cli import __version__
from ddbm_cli.comparison import Comparison, Method, Outcome
from ddbm_cli.comparison.notes import distinguish, notes
from ddbm_cli.comparison.page import as_html
from ddbm_cli.comparison.request import check
from ddbm_cli.comparison.tables import as_csv, as_json, as_markdown, rows
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import Jobs, plan_jobs
from ddbm_cli.imaging.io import encode_picture, open_picture, write_atomically
from ddbm_cli.imaging.prompts import Prompts
from ddbm_cli.imaging.sheet import Picture, labelled_sheet
from ddbm_cli.metrics.instructions import TRADE_OFFS
from ddbm_cli.models import builtin_path
from ddbm_cli.options.check import from_options
from ddbm_cli.options.compare import DEFAULT_METHODS, CompareRequest
from ddbm_cli.options.prepare import read_prepare
from ddbm_cli.tasks.bench import Bench
from ddbm_cli.tasks.events import Compared, Event, Failed, Finished, Planned, Written
from ddbm_cli.tasks.scores import metrics
from ddbm_cli.tasks.workspace import Workspace

MOST_ROWS = 64
"""Largest number of inputs in a contact sheet."""


def _as_png(comparison: Comparison) -> bytes:
    """Return a contact sheet: a row per input, of the first ones, and a column per method."""
    shown = [each for each in comparison.inputs if not each.error][:MOST_ROWS]
    columns: dict[str, list[Picture | None]] = {
        "source": [open_picture(each.image) if each.image else None for each in shown]
    }
    for outcome in comparison.outcomes:
        found = [outcome.images.get(each.name) for each in shown]
        columns[outcome.label] = [open_picture(body) if body else None for body in found]
    if any(each.target for each in shown):
        columns["target"] = [open_picture(each.target) if each.target else None for each in shown]
    return encode_picture(labelled_sheet(columns), "png")


WRITERS = {".html": as_html, ".json": as_json, ".csv": as_csv, ".md": as_markdown, ".png": _as_png}


def request(**given: Any) -> CompareRequest:
    """Return the request for the given options; None leaves an option at its default.

    Raises:
        UsageError: a value is out of its range.
    """
    return from_options(
        CompareRequest, {name: value for name, value in given.items() if value is not None}, command="compare"
    )


def run(request: CompareRequest) -> Iterator[Event]:
    """Run all methods on all inputs and write the comparison; yield what happens.

    Raises:
        UsageError: no such method, no input, or an output that cannot be written.
        ModelError: the model of the request is not available.
    """
    began = time.monotonic()
    methods = check(request)
    read_prepare(request.prepare)
    source = request.source or str(builtin_path().parent / "sketches")
    workspace = Workspace(request.outputs[0], _identity(request))
    try:
        for output in request.outputs:
            if output.exists() and not request.overwrite and not workspace.wrote(output):
                raise UsageError(f"{output} already exists", hint="choose another output with -o, or pass --overwrite")
        yield from _run(request, methods, source, workspace, began)
    finally:
        workspace.release()


def _run(
    request: CompareRequest, methods: list[Method], source: str, workspace: Workspace, began: float
) -> Iterator[Event]:
    existing = {output for output in request.outputs if output.exists()}
    plan = plan_jobs(source, workspace.folder, recursive=request.recursive, format="png", exclude=request.outputs)
    jobs = plan.jobs
    Prompts(request.prompt, request.prompts).assign(jobs, beside=False)
    common = {
        name: getattr(request, name)
        for name in ("seed", "device", "dtype", "compile", "graph", "batch_size", "recursive")
    }
    texts = {name: text for name in ("prompt", "prompts") if (text := getattr(request, name))}
    bench = Bench(
        jobs,
        workspace,
        targets=request.targets,
        common={"source": source, **texts, **common},
        seconds=request.seconds,
        trajectories=request.trajectories,
        prepare=request.prepare,
        exclude=request.outputs,
    )
    if any(method.model == request.model and method.needs_model and not method.needs_prior for method in methods):
        # A model that all methods need is no matter of one column.
        yield from bench.begin(request.model, request.direction)
    prepared = {"Prepare": fact} if (fact := bench.sources.fact()) else {}
    facts = _facts(request, source, plan, methods) | prepared
    yield Planned(total=len(jobs) * len(methods) + len(request.outputs), facts=facts)
    for problem in plan.problems:
        yield Failed(source=problem.path, message=problem.message, hint=problem.hint)
    outcomes: list[Outcome] = []
    for method in methods:
        outcomes.append((yield from bench.outcome(method)))
    inputs = yield from bench.inputs()
    outcomes = distinguish(outcomes)
    budget: dict[str, Any] = {"nfe": request.nfe, "seconds": request.seconds}
    measured = metrics(targets=bool(bench.targets), texts=bool(bench.texts))
    comparison = Comparison(
        inputs=inputs,
        outcomes=tuple(outcomes),
        metrics={each.label: (each.recipe, each.higher_is_better) for each in measured},
        facts=_run_facts(request, bench.device) | ({"prepare": fact} if fact else {}) | _texts(bench.texts),
        warnings=tuple(notes(methods, outcomes, inputs, targets=len(bench.targets), **budget)),
        trade_offs=TRADE_OFFS,
    )
    written = []
    for wanted in request.outputs:
        output = wanted if request.overwrite or wanted in existing or not wanted.exists() else _free(wanted)
        body = WRITERS[output.suffix.lower()](comparison)
        workspace.will_write(output, body)
        write_atomically(output, body)
        written.append(output)
        yield Written(source=Path(source), output=output, record={"rows": rows(comparison)})
    workspace.remove()
    yield Compared(
        metrics={name: higher for name, (_, higher) in comparison.metrics.items()},
        rows=rows(comparison),
        best={name: sorted(comparison.best(name)) for name in comparison.metrics},
        notes=list(comparison.warnings),
    )
    yield Finished(
        written=0 if all(outcome.error for outcome in outcomes) else len(written),
        kept=0,
        failed=len(plan.problems) + len(bench.broken) + sum(bool(outcome.error) for outcome in outcomes),
        seconds=time.monotonic() - began,
        output=written[0],
    )


def _texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the facts about the prompts of inputs."""
    different = list(dict.fromkeys(texts.values()))
    words = different[0] if len(different) == 1 else f"{len(different)} different ones, in the .csv and .json tables"
    return {"prompt": words} if different else {}


def _identity(request: CompareRequest) -> str:
    """Return a text that is equal for commands that make the same comparison."""
    return repr([(each.name, getattr(request, each.name)) for each in fields(request) if each.name != "overwrite"])


def _free(output: Path) -> Path:
    """Return a name next to an output that somebody else wrote while this comparison ran."""
    names = (output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(2, 10_000))
    return next(name for name in names if not name.exists())


def _in_words(method: Method) -> str:
    """Return a method's label with its budget, where it has one of its own."""
    return f"{method.label} ({method.nfe} NFE)" if method.own_budget and method.nfe else method.label


def _facts(request: CompareRequest, source: str, plan: Jobs, methods: list[Method]) -> dict[str, str]:
    budget = f"{request.nfe} NFE per image" if request.nfe else "each method's own"
    budget = f"{request.seconds:g} s per image" if request.seconds else budget
    count, left_out = len(plan.jobs), f"; left out: {plan.skipped}" if plan.skipped else ""
    return {
        "Input": f"{count} {'image' if count == 1 else 'images'}: {source}{left_out}",
        "Methods": ", ".join(_in_words(method) for method in methods),
        "Budget": f"{budget}, seed {request.seed}",
        "Output": ", ".join(map(str, request.outputs)),
    }


def _run_facts(request: CompareRequest, device: str) -> dict[str, str]:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {
        "command": _command(request),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{device} ({name}), {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seed": str(request.seed),
        "program": f"ddbm {__version__}, Python {platform.python_version()}",
    }


def _command(request: CompareRequest) -> str:
    """Return the command that makes this comparison again."""
    words = ["ddbm", "compare", *([request.source] if request.source else [])]
    for method in request.methods if request.methods != DEFAULT_METHODS else ():
        words += ["--with", method]
    for axis in request.sweep:
        words += ["--sweep", axis]
    for output in request.outputs:
        words += ["-o", str(output)]
    plain = {each.name: each.default for each in fields(CompareRequest)}
    for name in (
        "targets",
        "model",
        "direction",
        "prompt",
        "prompts",
        "nfe",
        "seconds",
        "seed",
        "device",
        "dtype",
        "batch_size",
        "trajectories",
        "prepare",
    ):
        value = getattr(request, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value != plain[name] else []
    words += [f"--{name}" for name in ("recursive", "compile", "graph") if getattr(request, name)]
    return shlex.join(words)
