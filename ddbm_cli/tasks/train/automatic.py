"""`--batch-size auto`: that of the run that is resumed, or the largest that fits."""

import dataclasses
from collections.abc import Callable

from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.folder import RunFolder, batch_size_of
from ddbm_cli.tasks.train.guards import explained, too_large
from ddbm_cli.training import Batches, Fit
from ddbm_cli.training.batch_size import largest_of
from ddbm_cli.training.processes import Processes


def with_largest_batch(
    request: TrainRequest,
    folder: RunFolder,
    batches: Batches,
    make: Callable[[TrainRequest], Fit],
    processes: Processes,
) -> TrainRequest:
    """Return a request with a batch size.

    Args:
        batches: get this size.
        make: returns a run to try steps with.

    Raises:
        DdbmError: no batch fits into memory.
        UsageError: accelerate is not installed, or the memory cannot be measured.
    """
    unit = request.compute.accumulate
    smallest = _sized(request, batches, unit * processes.count)
    with explained(smallest, folder, processes):
        found = batch_size_of(folder) or largest_of(make(smallest), unit=unit)
    if not found:
        raise too_large(smallest)
    return _sized(request, batches, found)


def _sized(request: TrainRequest, batches: Batches, size: int) -> TrainRequest:
    batches.size = size
    return dataclasses.replace(request, recipe=dataclasses.replace(request.recipe, batch_size=size))
