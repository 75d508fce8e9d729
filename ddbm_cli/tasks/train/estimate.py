"""What a training will need, measured by real steps before it: time, memory, and room on the disk."""

import os
import shutil
import sys
import time
from pathlib import Path

import torch

from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.training import Fit
from ddbm_cli.training.state import collect

WARM_UP, MOST_STEPS, MOST_SECONDS = 2, 20, 10.0
"""Steps that are not measured, and when the measurement ends."""


def estimate(fit: Fit, folder: RunFolder) -> dict[str, str]:
    """Do some steps, which are not kept, and return what the whole run will need, in words.

    The moments of the optimiser exist after the first step, so the memory is that of the run; a validation is not
    measured.
    """
    steps, seconds = _measured(fit)
    left = max(0, fit.recipe.steps - fit.step)
    pace = steps / seconds
    facts = {
        "Speed": f"{pace:.3g} steps per second: {left / pace / 3600:.3g} hours for {left} steps, without validations",
        "Memory": _memory(fit.device),
        "Disk": _disk(fit, folder.path),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _measured(fit: Fit) -> tuple[int, float]:
    """Return a number of steps and the seconds that they took."""
    batches = fit.batches.from_step(fit.step)
    for _ in range(WARM_UP):
        fit.optimization.gradient(next(batches), fit.step)
        fit.optimization.update(0.0)
        fit.averages.update(fit.denoiser)
    _wait(fit.device)
    if fit.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(fit.device)
    began, done = time.monotonic(), 0
    while done < MOST_STEPS and (not done or time.monotonic() - began < MOST_SECONDS):
        fit.optimization.gradient(next(batches), fit.step)
        fit.optimization.update(0.0)
        fit.averages.update(fit.denoiser)
        done += 1
    _wait(fit.device)
    return done, time.monotonic() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_reserved(device) / 2**30:.2f} GiB of the GPU"
    if device.type != "cpu" or os.name == "nt":
        return ""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.2f} GiB"


def _disk(fit: Fit, folder: Path) -> str:
    """Return how much a run needs: the states it keeps, one more while it saves, and two models in fp16."""
    state = sum(tensor.nbytes for tensor in collect(*fit.parts()).values())
    models = 2 * sum(2 * parameter.numel() for parameter in fit.denoiser.network.parameters())
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    needed = (fit.recipe.keep + 1) * state + models
    short = " (not enough)" if needed > free else ""
    return f"{needed / 2**30:.2f} GiB, besides sample images; {free / 2**30:.1f} GiB are free{short}"
