"""What a run reports: the header before it, and its end."""

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import torch

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.events import Noticed, Trained
from ddbm_cli.models import ModelCard
from ddbm_cli.models.start_from import Started
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.data import Data
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.tasks.train.report import use_command
from ddbm_cli.tasks.train.unpaired import rounds_in_words
from ddbm_cli.training import Budget, Fit


def trained(request: TrainRequest, folder: RunFolder, fit: Fit) -> Trained:
    """Return how a session ended."""
    steps = request.recipe.steps
    reason: Literal["steps", "hours", "patience", "stopped"] = "stopped"
    if fit.is_over:
        reason = "steps" if fit.step >= steps else "hours" if fit.spent else "patience"
    resume = f"ddbm train --resume {shlex.quote(str(folder.path))}"
    longer = {"steps": f" --steps {2 * steps}", "hours": f" --hours {request.hours:g}" if request.hours else ""}
    use = use_command(request, folder.model)
    return Trained(
        output=folder.model,
        run=folder.path,
        step=fit.step,
        total=steps,
        seconds=fit.seconds,
        reason=reason,
        stopped=reason == "stopped",
        next_command=resume if reason == "stopped" else use,
        resume_command=resume + longer.get(reason, ""),
    )


def differences(started: Started, request: TrainRequest) -> Iterator[Noticed]:
    """Yield which layers are not those of the model that a run begins with."""
    adapted = [f"{name} {how}" for name, how in started.adapted.items()]
    for what, names in (
        ("layers were adapted to this network", adapted),
        ("layers are not in it and are new", started.new),
        ("of its layers are not used", started.unused),
    ):
        if names:
            yield Noticed(message=f"--from {request.start_from}: {len(names)} {what}", names=list(names))


def facts_of(
    request: TrainRequest,
    data: Data,
    card: ModelCard,
    denoiser: Denoiser,
    device: torch.device,
    *,
    folder: RunFolder,
    fit: Fit,
    budget: Budget | None,
    notes: Sequence[str],
    trained: str,
    changes: Sequence[str],
    elsewhere: str,
) -> dict[str, str]:
    """Return the resolved settings, in order, as a header shows them.

    Args:
        fit: with the state that is resumed.
        notes: what the network did not get from the model that it begins with.
        trained: what is trained, "" for all weights.
        changes: what differs from the run that is resumed.
        elsewhere: why the run is not in the usual folder, "" where it is.
    """
    weights = sum(parameter.numel() for parameter in denoiser.parameters())
    recipe = request.recipe
    about = [f"{elsewhere}, so this is a new run"] if elsewhere else []
    facts = {
        **data.facts(),
        "Model": f"{card.network['name']} {weights / 1e6:.2f} M parameters, {card.preprocess.words}",
        "Distils": f"{request.teacher} by {_method(request)}" if request.is_distilled else "",
        "Begins": ", but ".join([f"with {request.start_from}", *notes]) if request.start_from else "",
        "Adapter": trained,
        "Expects": _expected(card),
        "Path": f"{request.path}, prediction {_brief(card.prediction)}",
        "Rounds": rounds_in_words(request) if request.is_unpaired else "",
        "Recipe": f"{recipe.steps} steps of {recipe.batch_size}, rate {recipe.learning_rate:g}, "
        f"ema {', '.join(f'{decay:g}' for decay in recipe.decays)}",
        "Time": _time(request, budget),
        "Device": "; ".join([f"{device}, {recipe.precision}", *_computed(request, fit)]),
        "Run": str(folder.path),
        "Resumes": _resumed(recipe.steps, fit),
        "Changes": "; ".join(changes),
        "Note": "; ".join([*about, *data.pairs.notes]),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _computed(request: TrainRequest, fit: Fit) -> list[str]:
    """Return how a step is computed, where not in one part by one process."""
    count, compute = fit.processes.count, request.compute
    each = request.recipe.pairs_per_step // count // compute.accumulate
    said = [f"{count} processes"] if count > 1 else []
    said += ["the model is divided by FSDP"] if fit.processes.divided else []
    said += [f"{compute.accumulate} parts of {each} pairs"] if compute.accumulate > 1 else []
    said += ["activations are recomputed"] if compute.checkpoint_activations else []
    return [*said, *(["compiled"] if compute.compile else [])]


def _method(request: TrainRequest) -> str:
    critic = f", with a critic of weight {request.adversarial:g}" if request.adversarial else ""
    return request.method + critic


def _resumed(steps: int, fit: Fit) -> str:
    if not fit.step:
        return ""
    other = fit.processes.count != fit.processes_before
    noted = f", in {fit.processes.count} instead of {fit.processes_before} processes: the same data and noise, but sums"
    return f"at step {fit.step} of {steps}" + (f"{noted} are rounded differently" if other else "")


def _time(request: TrainRequest, budget: Budget | None) -> str:
    if budget is None:
        return ""
    left = max(0.0, budget.seconds - budget.spent)
    end = datetime.now() + timedelta(seconds=min(left, 3.2e7))
    part = f"the last {left / 3600:.2g} of {request.hours:g}" if budget.used else f"{request.hours:g}"
    decay = f"the learning rate decays to 0 over the last {request.recipe.lr_decay_fraction:.0%}; "
    rest = "the last validation, samples and checkpoint are included"
    ends = f"until {end:%Y-%m-%d %H:%M}"
    return f"at most {part} hours, {ends}; {decay if request.recipe.lr_decay_fraction else ''}{rest}"


def _expected(card: ModelCard) -> str:
    """Return what the model expects of drawings, "" where it does not expect any."""
    expects = card.expects
    if expects is None or expects.kind != "line-art":
        return ""
    return f"line art: lines {expects.line_width:g} pixels wide, margin {expects.margin:g}, {expects.objects} object(s)"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _brief(setting: dict[str, Any]) -> str:
    fields = ", ".join(f"{name}={_short(value)}" for name, value in setting.items() if name != "name")
    return f"{setting['name']} ({fields})" if fields else str(setting["name"])
