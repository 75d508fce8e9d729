"""What to train, as asked: options over a file of settings over the run that is resumed."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.denoisers import PREDICTIONS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.models import locate
from ddbm_cli.models.load import checked_card
from ddbm_cli.networks import NETWORKS
from ddbm_cli.objectives import Adversarial
from ddbm_cli.options.check import from_options
from ddbm_cli.options.train import Sampling, TrainRequest, is_prior
from ddbm_cli.paths import PATHS

__all__ = ["DROP", "PIX2PIX", "PRIOR", "Sampling", "TrainRequest", "request"]

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
    if is_prior(str(body.get("task", ""))):
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
    card = checked_card(file)
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
