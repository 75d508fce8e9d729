"""Trajectories of a comparison: some inputs are sampled again, and a few of their states are kept."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ddbm_cli.comparison import Strip
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.io import encode_picture
from ddbm_cli.imaging.sheet import Picture, contact_sheet
from ddbm_cli.models import TranslationModel
from ddbm_cli.samplers import NoiseSource, Plan
from ddbm_cli.tasks.recorder import spaced

COLUMNS = 12
"""Largest number of evaluations of a trajectory that are kept."""


def strips(
    model_of: Callable[[Sequence[Job]], TranslationModel],
    plan: Plan,
    jobs: Sequence[Job],
    picture_of: Callable[[Path], Picture],
    *,
    seed: int,
    batch: int,
) -> dict[str, Strip]:
    """Return the trajectories of inputs by their names; equal noise gives the same images as before.

    Args:
        model_of: the model with the conditions of some inputs. jobs: the inputs. picture_of: opens a source.
        batch: number of inputs that are sampled together, at most.
    """
    wanted = spaced(plan.nfe, COLUMNS)
    found = {}
    for first in range(0, len(jobs), batch):
        part = jobs[first : first + batch]
        model = model_of(part)
        source = torch.stack([model.card.preprocess.forward(picture_of(job.source))[0] for job in part])
        noise = NoiseSource(seed, [job.name for job in part])
        kept = [call for call in model.translate(source, noise, plan) if call.nfe in wanted]
        for index, job in enumerate(part):
            frames = torch.stack([call.x[index] for call in kept] + [call.x0[index] for call in kept]).float().cpu()
            found[job.name] = Strip(
                image=encode_picture(contact_sheet([frames], columns=len(wanted), gap=0), "webp", quality=90),
                times=tuple(call.t for call in kept),
                calls=tuple(call.nfe for call in kept),
            )
    return found
