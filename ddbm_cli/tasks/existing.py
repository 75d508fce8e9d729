"""What happens to outputs that exist already: they are kept, replaced, reported, or the new ones get other names."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ddbm_cli.imaging.files import Job
from ddbm_cli.tasks.events import Failed


def free_name(job: Job, difference: Callable[[Job], str], taken: set[Path]) -> tuple[Job, bool]:
    """Return a job with a name for its output that is free, or at which exactly this output exists.

    Args:
        difference: returns how an existing output differs from what would be made, "" if it does not.
        taken: names that other jobs of the run use; the new name is added.

    Returns:
        The job, and whether its output exists.
    """
    for number in itertools.count(1):
        output = job.output if number == 1 else job.output.with_stem(f"{job.output.stem}-{number}")
        other = replace(job, output=output)
        if number > 1 and output in taken:
            continue
        exists = output.exists() or output.is_symlink()
        if not exists or not difference(other):
            taken.add(output)
            return other, exists
    raise AssertionError("unreachable")


def exists_already(job: Job) -> Failed:
    """Return the failure of an output that exists."""
    return Failed(
        source=job.source,
        message=f"{job.source}: its output exists already",
        hint="remove --fail-existing, or pass --overwrite, --rename or another output",
    )
