"""What can end a training early, each with the file or the size that is at fault and how to continue."""

import errno
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.devices import memory_of
from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.training import Diverged
from ddbm_cli.training.processes import Processes

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
COPIES = 5
"""Of the weights, in float32: the weights, their gradient, their average and two moments."""

OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def check_memory(denoiser: Denoiser, device: torch.device, *, adapts: bool) -> None:
    """Refuse a network whose training state alone exceeds the memory; the denoiser may be on the meta device.

    adapts: an adapter is trained, so that the weights are there once.

    Raises:
        UsageError: it does.
    """
    there = memory_of(device)
    wanted = sum(parameter.numel() for parameter in denoiser.parameters()) * 4 * (1 if adapts else COPIES)
    if there and wanted > there:
        raise UsageError(
            f"training this network needs at least {wanted / 1e9:.1f} GB, and {device} has {there / 1e9:.1f} GB",
            hint="choose fewer channels (--network adm:channels=48), or train an adapter of --from (--lora rank=8)",
        )


@contextmanager
def explained(request: TrainRequest, folder: RunFolder, processes: Processes) -> Iterator[None]:
    """Turn what ends a training in the block into an error whose hint is how to continue.

    Raises:
        DdbmError: the run diverged, a file could not be written, the memory was not enough, or another process ended.
    """
    resume = f"ddbm train --resume {shlex.quote(str(folder.path))}"
    try:
        yield
    except Diverged as error:
        kept = f"{folder.state} keeps the last good state. " if folder.state.exists() else ""
        raise DdbmError(
            f"the run diverged: {error}",
            hint=f"{kept}Use a lower learning rate: {resume} --learning-rate {request.recipe.learning_rate / 10:.1g}",
        ) from None
    except OSError as error:
        file = error.filename or folder.path
        remedy = "free some space" if error.errno in FULL else "check the folder and its permissions"
        raise DdbmError(f"{file}: {error.strerror or error}", hint=f"{remedy}, then resume: {resume}") from None
    except (RuntimeError, MemoryError) as error:
        if processes.is_lost(error):
            raise DdbmError(
                "another process of this training has ended, without a message: it was killed, or lost its connection",
                hint=f"check its memory and the log of the system, then resume: {resume}",
            ) from None
        if not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
        raise too_large(request) from None


def too_large(request: TrainRequest) -> DdbmError:
    """Return the error for batches that do not fit into memory."""
    batch_size = request.recipe.pairs_per_step
    smaller = f"a smaller --batch-size ({batch_size // 2}) or --size" if batch_size > 1 else "a smaller --size"
    return DdbmError(
        f"not enough memory for batches of {batch_size} at {Preprocess(size=request.size).words} pixels",
        hint=f"start a new run with {smaller}, or with --checkpoint-activations",
    )


def unreadable(path: Path) -> DdbmError:
    """Return the error for notes in a state that are of wrong types."""
    return DdbmError(f"{path}: its notes are damaged", hint="restore the file from a backup, or start a new run")
