"""Checkpoints as others write them: a tiny network in their packing, and the registry's entry that knows it."""

from pathlib import Path

import torch

from ddbm_cli.models.card import describe_card
from ddbm_cli.networks import normalise
from ddbm_cli.registry import Entry
from tests.tiny import TWO_LEVELS, tiny_card, tiny_weights

TABLE = """
[foreign]
task = "test"
repo = "org/repo"
file = "old.pt"
importer = "ddbm"
licence = "MIT"

[foreign.card]
path = { name = "vp-bridge" }
prediction = { name = "preconditioned" }
preprocess = { size = 16 }

[foreign.card.network]
name = "adm"
channels = 16
multipliers = [1, 2]
blocks = 1
attention = [2]
head_channels = 16
patch = 2

[foreign.card.defaults]
sampler = { name = "implicit", eta = 0.0 }
grid = { name = "uniform" }
start = { name = "booted" }
steps = 3
"""
"""A user's weights.toml with `entry()` in it."""


def foreign_card(**changes):
    """The card of that model."""
    return tiny_card(**{"network": TWO_LEVELS} | changes)


def entry(fingerprint=(), **changes) -> Entry:
    """The registry's entry of a tiny foreign model; changes are those of its card."""
    body = describe_card(foreign_card(**changes))
    name, task, licence = "foreign", body.pop("task"), body.pop("licence")
    del body["name"]
    return Entry(
        name=name,
        task=task,
        licence=licence,
        repo="org/repo",
        file="old.pt",
        importer="ddbm",
        card=body,
        fingerprint=tuple(fingerprint),
    )


def foreign_weights(dimensions: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of that model; attention's in as many dimensions as the official code has."""
    weights = {name: tensor.contiguous() for name, tensor in tiny_weights(foreign_card(), seed).items()}
    return normalise(weights, dimensions=dimensions)


def write_foreign(path: Path, content=None) -> Path:
    """Write what the official code would, by torch.save."""
    torch.save(foreign_weights() if content is None else content, path)
    return path
