"""What to train, as asked: options over a file of settings over the run that is resumed."""

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ddbm_cli.denoisers import PREDICTIONS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, from_options, settings, spell
from ddbm_cli.models import locate
from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.networks import NETWORKS
from ddbm_cli.objectives import Adversarial
from ddbm_cli.paths import PATHS
from ddbm_cli.training import Recipe


@settings
class Sampling:
    """How the model is to be sampled where a user does not say, in shell forms; it goes into the card.

    None leaves a choice to what suits its kind of path.
    """

    sampler: str | None = None
    grid: str | None = None
    steps: Annotated[int, Field(ge=1)] | None = None


@settings
class TrainRequest:
    """What to train, on what, and what to call it.

    data: folders of pairs; see `imaging.pairs` for their layouts. output: the run's folder.
    task: words, "sketch -> picture". "prior", or words that begin with "->", mean a prior: of the data only targets
        are used, the network gets no source, and what is not given is as in `PRIOR`.
    network, path, prediction, times, objective: settings in their shell form, such as "adm:channels=64". A
        preconditioned prediction whose sigmas are not given gets those of the data. With objective "pix2pix", what is
        not given is as in `PIX2PIX`.
    sees_source: the network gets the source beside the state; without it, the state alone, as rectified flow's and
        I2SB's do, where the state begins as the source.
    classes: the network is told of each pair the uppermost folder that it lies in, as its class. drop: share of the
        training in which the source is left out, the label, and both, so that guidance has what it combines; if not
        given, `DROP` with classes.
    start_from: a model, as after -m, whose weights the run begins with; network, path, prediction and size are its own
        where they are not given.
    size: pixels of a side. augment: see `training.batches`. val_share: held out where the layout does not say.
    hours: stop then, to be resumed; None for no limit.
    """

    data: tuple[Path, ...]
    output: Path
    network: str = "adm:channels=48,multipliers=1-2-2-3,blocks=1,attention=4-8,head_channels=24,patch=2"
    path: str = "vp-bridge"
    prediction: str = "preconditioned:c_noise=log-snr"
    times: str = "arcsine"
    objective: str = "denoising"
    sees_source: bool = True
    classes: bool = False
    drop: Annotated[float, Field(ge=0, le=0.33)] = 0.0
    start_from: str | None = None
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    size: Annotated[int, Field(ge=8)] = 64
    augment: tuple[str, ...] = ("flip", "shift")
    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    hours: Annotated[float, Field(gt=0)] | None = None
    device: str = "auto"
    name: str = "bridge"
    task: str = "source -> target"
    licence: str = "not stated"
    data_note: str = "not stated"
    limits: str = "not stated"

    @property
    def is_prior(self) -> bool:
        """Whether it is a prior that is trained, and not a bridge."""
        return _is_prior(self.task)


PRIOR = {"path": "ve", "times": "log-normal:mean=-0.8,std=1.4", "name": "prior", "augment": ["flip"]}
"""What a prior has where a bridge has the defaults of `TrainRequest`."""

PIX2PIX = {
    "path": "rectified",
    "prediction": "x0",
    "times": "uniform",
    "name": "pix2pix",
    "recipe": {"learning_rate": 2e-4, "momentum": 0.5, "weight_decay": 0.0, "ema": 0.0, "clip_norm": 1e9},
}
"""What pix2pix has where a bridge has the defaults of `TrainRequest`: the paper's settings."""

DROP = 0.05
"""InstructPix2Pix's share (arXiv:2211.09800)."""

PRIOR_TASK = "-> picture"


def _is_prior(task: str) -> bool:
    return task == "prior" or task.startswith("->")


def request(given: Mapping[str, Any], *, config: Path | None = None, resume: Path | None = None) -> TrainRequest:
    """Resolve a request: what is given wins over the config file, which wins over the run that is resumed.

    Raises:
        UsageError: a file is missing or not readable, or a value is unknown or out of range.
    """
    body: dict[str, Any] = {}
    if resume is not None:
        body = _read(resume / "config.json", json.loads, hint="name the folder of a run, the -o of its ddbm train")
    if config is not None:
        body = _merge(body, _read(config, tomllib.loads, hint="name a TOML file of settings"))
    body = _merge(body, given)
    if _is_prior(str(body.get("task", ""))):
        body = PRIOR | body | ({"task": PRIOR_TASK} if body["task"] == "prior" else {})
    if str(body.get("objective", "")).startswith(Adversarial.name):
        halvings = (int(body.get("size", 64)) & -int(body.get("size", 64))).bit_length() - 1
        body = _merge({"network": f"pix2pix:depth={min(halvings, 8)}", **PIX2PIX}, body)
    if body.get("classes"):
        body = {"drop": DROP} | body
    if body.get("start_from") and resume is None:
        body = _settings_of(locate(str(body["start_from"]))) | body
    if not body.get("data"):
        raise UsageError("nothing to train on", hint="name a folder of pairs: ddbm train DATA")
    return from_options(TrainRequest, body, command="train")


def _settings_of(file: Path) -> dict[str, Any]:
    """Return what a run that begins with a model has from it."""
    card = read_card(read_header(file), file=file.name)
    network = {name: value for name, value in card.network.items() if name not in ("classes", "in_channels")}
    return {
        "network": spell(build(NETWORKS, network, what="network")),
        "path": spell(build(PATHS, card.path, what="path")),
        "prediction": spell(build(PREDICTIONS, card.prediction, what="prediction")),
        "size": card.preprocess.size,
    }


def _read(path: Path, parse: Callable[[str], dict[str, Any]], *, hint: str) -> dict[str, Any]:
    try:
        return parse(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable ({error})", hint=hint) from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for table in ("recipe", "sampling"):
        if table in below and table in above:
            merged[table] = {**below[table], **above[table]}
    return merged
