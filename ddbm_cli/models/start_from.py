"""Training that begins with the weights of another model, whose network may know a little less."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.checkpoint import open_tensors

FIRST = "input_blocks.0.0.weight"
"""Weights of the layer that sees state and source; channels that it did not see begin at zero, as in
InstructPix2Pix (arXiv:2211.09800), so that at first the network does what it did."""

CLASSES = "label_emb.weight"


def start_from(network: nn.Module, file: Path) -> list[str]:
    """Give a network the weights of a model file; return what it does not have from there, in words.

    Raises:
        ModelError: the file cannot be read.
        UsageError: its network is another.
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
                notes.append("classes are learnt anew")
            elif name == FIRST and given is not None and _sees_less(given, fresh):
                weights[name] = torch.cat([given, torch.zeros_like(fresh[:, given.shape[1] :])], dim=1)
                notes.append("the source is learnt anew")
            else:
                shape = "none" if given is None else tuple(given.shape)
                raise UsageError(
                    f"{file.name}: its network is another ('{name}' is {shape}, wanted is {tuple(fresh.shape)})",
                    hint="leave out --network, --size and --blind: they come from the model",
                )
    network.load_state_dict(own | weights)
    return notes


def _sees_less(given: Tensor, fresh: Tensor) -> bool:
    return given.shape[1] < fresh.shape[1] and (given.shape[0], *given.shape[2:]) == (fresh.shape[0], *fresh.shape[2:])
