"""What a training will need, measured by real steps before it: time, memory, and room on the disk."""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ddbm_cli.foundation.devices import synchronize
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.text import bytes_in_words
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.training import Budget, Fit, Recipe
from ddbm_cli.training.batch_size import largest_of, to_come
from ddbm_cli.training.couplings import Couplings
from ddbm_cli.training.memory import Memory
from ddbm_cli.training.state import collect

WARM_UP, MOST_STEPS, MOST_SECONDS = 2, 20, 10.0
"""Steps that are not measured, and when the measurement ends."""


def estimate(
    fit: Fit, folder: RunFolder, *, unit: int, budget: Budget | None, validate: Callable[[], float] | None
) -> dict[str, str]:
    """Do some steps, which are not kept, and return what the whole run will need, in words.

    The moments of the optimiser exist after the first step, so the memory is that of the run.

    Args:
        fit: not to be used afterwards.
        unit: the batch of each process is a multiple of it.
        budget: of the run's time.
        validate: returns the expected seconds of a validation; None where there is none.
    """
    steps, seconds = _measured(fit)
    simulations = 0.0
    if isinstance(fit.batches, Couplings):
        simulations = fit.processes.largest(fit.batches.expected(fit.step, fit.recipe.steps))
    facts = {
        "Speed": f"{steps / seconds:.3g} steps per second",
        "Needs": _time(
            fit.recipe, fit.step, seconds / steps, validate() if validate else 0.0, budget, simulations=simulations
        ),
        "Memory": _memory(fit),
        "Largest batch": _largest(fit, unit),
        "Disk": _disk(fit, folder.path),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _time(
    recipe: Recipe, done: int, step: float, validation: float, budget: Budget | None, *, simulations: float = 0.0
) -> str:
    """Return the time that a run takes, or how far it comes within its budget.

    Args:
        done: steps done before.
        step, validation: seconds of one.
        simulations: seconds of those of all steps that are left.
    """
    left, every = max(0, recipe.steps - done), min(recipe.validate_every, recipe.steps)
    count = -(-left // every) if validation else 0
    seconds = left * step + count * validation + simulations
    if budget and seconds > (available := budget.training_left(validation)):
        step += simulations / max(1, left)
        return f"about {available / (step + validation / every):.0f} of {left} steps in {budget.seconds / 3600:g} hours"
    validations = f" and {count} validations" if count else ""
    simulated = f", {simulations / 3600:.2g} of them to simulate pairs" if simulations else ""
    return f"{seconds / 3600:.3g} hours for {left} steps{validations}{simulated}"


def _measured(fit: Fit) -> tuple[int, float]:
    """Return a number of steps, and the seconds that they took without simulations; all processes do as many."""
    seconds = 0.0

    def now() -> float:
        return time.monotonic() - (fit.batches.seconds if isinstance(fit.batches, Couplings) else 0.0)

    with closing(fit.batches.from_step(fit.step)) as batches:
        for _ in range(WARM_UP):
            fit.try_step(next(batches))
        synchronize(fit.device)
        started, began, done = time.monotonic(), now(), 0
        while done < MOST_STEPS and seconds < MOST_SECONDS:
            fit.try_step(next(batches))
            done += 1
            seconds = fit.processes.largest(time.monotonic() - started)
        synchronize(fit.device)
        return done, fit.processes.largest(now() - began)


def _memory(fit: Fit) -> str:
    peak = Memory(fit.device).peak()
    where = " of the GPU" if fit.device.type == "cuda" else ""
    return f"{bytes_in_words(peak + to_come(fit))}{where}" if peak else ""


def _largest(fit: Fit, unit: int) -> str:
    """Return the largest batch that fits; it is not tried itself where that takes long."""
    try:
        largest = largest_of(fit, unit=unit, tried=False)
    except UsageError as error:
        return f"unknown: {error.message} ({error.hint})"
    if largest == 0:
        return "none fits the memory"
    is_all = largest + unit * fit.processes.count > len(fit.batches)
    return f"{largest} pairs" + (", as many as there are to train on" if is_all else "")


def _disk(fit: Fit, folder: Path) -> str:
    """Return how much a run needs: the states it keeps, one more while it saves, and two models in fp16."""
    state = sum(tensor.nbytes for tensor in collect(*fit.parts()).values())
    models = 2 * sum(2 * parameter.numel() for parameter in fit.denoiser.network.parameters())
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    needed = (fit.recipe.keep + 1) * state + models
    short = " (not enough)" if needed > free else ""
    return f"{bytes_in_words(needed)}, besides sample images; {bytes_in_words(free)} are free{short}"
