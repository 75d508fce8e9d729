"""Checkpoints of ADM (guided-diffusion, arXiv:2105.05233): our names, with another order of attention weights.

Their networks also predict a variance, in as many further channels; no sampler here uses it, so it is left out. Most
store queries, keys and values head by head; ours store all queries, then all keys, then all values.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ddbm_cli.models.importers import ddbm
from ddbm_cli.models.importers.ddbm import Shapes
from ddbm_cli.networks import ADMConfig

LAST = ("out.2.weight", "out.2.bias")
QKV = (".qkv.weight", ".qkv.bias")


def read(
    tensors: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes, *, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """As `ddbm.read`, for attention that is kept head by head."""
    weights, notes = read_new_attention(tensors, config, shapes, file=file)
    for name, value in weights.items():
        if name.endswith(QKV):
            weights[name] = by_kind(value, config.head_channels)
    return weights, notes


def read_new_attention(
    tensors: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes, *, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """As `ddbm.read`, for networks that were made with `use_new_attention_order`."""
    channels = shapes[LAST[1]][0]
    if not any(name.endswith(LAST[1]) and len(value) == 2 * channels for name, value in tensors.items()):
        return ddbm.read(tensors, config, shapes, file=file)
    whole = {**shapes, **{name: (2 * channels, *shapes[name][1:]) for name in LAST}}
    config = replace(config, out_channels=2 * config.out_channels)
    weights, notes = ddbm.read(tensors, config, whole, file=file)
    weights.update({name: weights[name][:channels] for name in LAST})
    return weights, [*notes, "the predicted variance is left out"]


def by_kind(value: Tensor, head_channels: int) -> Tensor:
    """Return a qkv parameter (3 C, ...), kept head by head, with all queries first, then keys, then values."""
    heads = max(1, len(value) // (3 * head_channels))
    return value.reshape(heads, 3, -1, *value.shape[1:]).transpose(0, 1).reshape(value.shape)
