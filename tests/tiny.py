"""A tiny model, and pictures, for tests that need some."""

from pathlib import Path

import torch
from PIL import Image

from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import ModelCard, assemble, write_model
from ddbm_cli.models.assemble import assemble_codec, weights_of

NETWORK = {
    "name": "adm",
    "channels": 8,
    "multipliers": [1],
    "blocks": 1,
    "attention": [2],
    "head_channels": 8,
    "patch": 4,
}
SMALLEST = "adm:channels=8,multipliers=1,blocks=1,attention=2,head_channels=8,patch=4"
"""The same network, as the option --network spells it."""
TWO_LEVELS = NETWORK | {"channels": 16, "multipliers": [1, 2], "head_channels": 16, "patch": 2}
"""A network with all layers, for tests of its structure."""


def tiny_card(**changes) -> ModelCard:
    """A complete card of a network that is fast."""
    body = {
        "name": "tiny",
        "task": "test",
        "network": NETWORK,
        "path": {"name": "vp-bridge"},
        "prediction": {"name": "preconditioned"},
        "preprocess": Preprocess(size=16),
        "defaults": {
            "sampler": {"name": "implicit", "eta": 0.0},
            "grid": {"name": "uniform"},
            "start": {"name": "booted"},
            "steps": 3,
        },
        "licence": "MIT",
    }
    return ModelCard(**(body | changes))


def tiny_weights(card: ModelCard, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights, also where a new network has zeros, so that every input reaches the output."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        denoiser, codec = assemble(card), assemble_codec(card)
        for parameter in (*denoiser.network.parameters(), *codec.parameters()):
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.1)
    return weights_of(denoiser, codec)


def write_tiny(path: Path, /, **changes) -> Path:
    """Write a tiny model file."""
    card = tiny_card(**changes)
    write_model(path, card, tiny_weights(card))
    return path


def picture(index: int, size: int = 16) -> Image.Image:
    """A coloured square on white, different for each index."""
    image = Image.new("RGB", (size, size), "white")
    colour = tuple((37 * (index + 1) * factor) % 256 for factor in (1, 3, 7))
    place = 2 + index % 4
    image.paste(colour, (place, place, size - place, size - 2))
    return image


def write_pairs(root: Path, count: int, size: int = 16) -> Path:
    """Write pairs: a grey picture in A, a coloured one in B."""
    for side in "AB":
        (root / side).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture(index, size).convert("L").convert("RGB").save(root / "A" / f"{index:03d}.png")
        picture(index, size).save(root / "B" / f"{index:03d}.png")
    return root
