"""The card of a model to be trained: what it is, measured on its data where nobody says, and how to sample it."""

import torch

from ddbm_cli.denoisers import PREDICTIONS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, describe
from ddbm_cli.imaging.pairs import PairSplit
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import ModelCard
from ddbm_cli.models.card import Defaults
from ddbm_cli.networks import NETWORKS
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import GRIDS, SAMPLERS
from ddbm_cli.tasks.train.request import Sampling, TrainRequest
from ddbm_cli.training import Batches

MEASURED_PAIRS = 512

FROM_SOURCE: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    # Steps that are finer towards the target, and a first one close to the source, where colours are decided.
    "grid": {"name": "karras", "rho": 3.0, "gap": 1e-4},
    "start": {"name": "booted"},
    "steps": 9,
}
FROM_NOISE: Defaults = {
    "sampler": {"name": "heun", "churn": 0.0},
    "grid": {"name": "karras", "rho": 7.0},
    "start": {"name": "prior"},
    "steps": 18,
}
AT_ONCE: Defaults = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "karras", "rho": 7.0, "gap": 0.0},
    "start": {"name": "pinned"},
    "steps": 1,
}
FREE = ", ".join(name for name, path in PATHS.items() if path.source_free)


def classes_of(pairs: PairSplit) -> tuple[str, ...]:
    """Return the names of the classes, sorted."""
    names = sorted({pair.folder for pair in pairs.train})
    odd = [pair.target for pair in (*pairs.train, *pairs.val) if not pair.folder or pair.folder not in names]
    if odd:
        raise UsageError(
            f"{odd[0]} lies in no folder of a class that there is to train on",
            hint="put every picture into a folder of its class: A/cat/1.png and B/cat/1.png; or leave out --classes",
        )
    return tuple(names)


def _defaults(asked: Sampling, usual: Defaults) -> Defaults:
    """Return how to sample: what is asked, else what is usual."""
    chosen = usual.copy()
    if asked.sampler is not None:
        chosen["sampler"] = describe(build(SAMPLERS, asked.sampler, what="sampler"))
    if asked.grid is not None:
        chosen["grid"] = describe(build(GRIDS, asked.grid, what="grid"))
    if asked.steps is not None:
        chosen["steps"] = asked.steps
    return chosen


def card_of(request: TrainRequest, batches: Batches, classes: tuple[str, ...]) -> ModelCard:
    path = build(PATHS, request.path, what="path")
    prediction = describe(build(PREDICTIONS, request.prediction, what="prediction"))
    if prediction["name"] == "preconditioned" and "sigma" not in request.prediction:
        measured = _measure(batches)
        prediction |= {"sigma_data": measured["sigma_data"]} if request.is_prior else measured
    if request.is_prior and not path.source_free:
        raise UsageError(f"path '{path.name}' needs a source, and a prior has none", hint="choose one of: " + FREE)
    network = describe(build(NETWORKS, request.network, what="network"))
    sees_source = request.sees_source and not request.is_prior
    if not sees_source and not request.is_prior and (path.source_free or network["name"] == "pix2pix"):
        raise UsageError("without the source, this network would know nothing of it", hint="leave out --blind")
    if classes and "classes" not in network:
        raise UsageError(f"network '{network['name']}' cannot be told classes", hint="leave out --classes")
    if request.drop and not classes and not sees_source:
        raise UsageError("there is no condition that could be left out", hint="leave out --drop")
    usual = FROM_NOISE if path.source_free else AT_ONCE if network["name"] == "pix2pix" else FROM_SOURCE
    return ModelCard(
        name=request.name,
        task=request.task,
        network=network
        | ({} if sees_source else {"in_channels": network["out_channels"]})
        | ({"classes": len(classes)} if classes else {}),
        path=describe(path),
        prediction=prediction,
        preprocess=Preprocess(size=request.size),
        kind="prior" if request.is_prior else "bridge",
        concat_source=sees_source,
        class_names=classes,
        condition_dropout=request.drop,
        defaults=_defaults(request.sampling, usual),
        licence=request.licence,
        data=request.data_note,
        limits=request.limits,
    )


def _measure(batches: Batches) -> dict[str, float]:
    """Return root mean squares of target and source, and the mean of their product."""
    chosen = [batches.pair(index) for index in spread(len(batches), MEASURED_PAIRS)]
    target, source = (torch.stack(side) for side in zip(*chosen, strict=True))
    sigmas = {"sigma_data": target.square().mean().sqrt(), "sigma_source": source.square().mean().sqrt()}
    return {name: round(float(value), 4) for name, value in (sigmas | {"cov": (target * source).mean()}).items()}


def spread(count: int, wanted: int) -> list[int]:
    """Return up to `wanted` indices, evenly spread over `count`."""
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]
