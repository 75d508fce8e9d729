"""Training from the weights of another model, whose network may lack classes or the source's channels."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.checkpoint import open_tensors

FIRST = "input_blocks.0.0.weight"
"""Weights of the layer that takes state and source. New channels are initialised to zero, as in InstructPix2Pix
(arXiv:2211.09800), so that the network begins with the same output."""

CLASSES = "label_emb.weight"


def start_from(network: nn.Module, file: Path) -> list[str]:
    """Load the weights of a model file into a network; return notes on the weights that are not from the file.

    Raises:
        ModelError: the file cannot be read.
        UsageError: it holds a different network.
    """
    own, notes = network.state_dict(), []
    weights: dict[str, Tensor] = {}
    with open_tensors(file) as tensors:
        names = set(tensors.keys())
        for name, fresh in own.items():
            given = tensors.get_tensor(name).to(fresh.dtype) if name in names else None
            if given is not None and given.shape == fresh.shape:
                weights[name] = given
            elif name == CLASSES:
                notes.append("the weights of classes are new")
            elif name == FIRST and given is not None and _has_fewer_channels(given, fresh):
                weights[name] = torch.cat([given, torch.zeros_like(fresh[:, given.shape[1] :])], dim=1)
                notes.append("the weights of the source's channels are new")
            else:
                shape = "none" if given is None else tuple(given.shape)
                raise UsageError(
                    f"{file.name}: a different network ('{name}' is {shape}, expected {tuple(fresh.shape)})",
                    hint="leave out --network, --size and --blind: they come from the model",
                )
    network.load_state_dict(own | weights)
    return notes


def _has_fewer_channels(given: Tensor, fresh: Tensor) -> bool:
    return given.shape[1] < fresh.shape[1] and (given.shape[0], *given.shape[2:]) == (fresh.shape[0], *fresh.shape[2:])
