"""Settings of a network from its state dict: names and shapes of ADM's parameters -> ADMConfig.

A level ends at the output block with an upsampling after its layers: their number is the number of levels, and the
number of output blocks gives the blocks per level. Channels, attention, patch and classes are read from shapes. Two
settings change no shape: the channels of a head, an argument of `detect`, and dropout, which is set to 0.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.networks.adm import ADM, ADMConfig

IMAGE_CHANNELS = 3

ATTENTION_WEIGHT = re.compile(r"\.(qkv|proj_out)\.weight$")

HINT = "only ADM U-Nets with scale-shift norms and resampling residual blocks can be read"


def detect(state_dict: Mapping[str, Any], *, head_channels: int = 64) -> ADMConfig:
    """Return the settings of the network that a state dict belongs to.

    Args:
        state_dict: name -> tensor, or anything with a `shape`; attention weights in any number of dimensions.
        head_channels: of the attention; it changes no shape. All released DDBM and ADM networks have 64.

    Raises:
        ModelError: it is no ADM state dict, or a shape disagrees with the others.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict.items()}
    try:
        config = _read(shapes, head_channels)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        # Which name is missing does not matter: the file is of another network.
        raise ModelError("these weights are not those of an ADM U-Net", hint=HINT) from None
    _compare(config, shapes)
    return config


def normalise(state_dict: Mapping[str, Tensor], *, dimensions: int = 4) -> dict[str, Tensor]:
    """Return a state dict whose attention weights have 4 dimensions, as in `ADM`, or 3, or 2."""
    return {name: tensor.reshape(_flat(name, tuple(tensor.shape), dimensions)) for name, tensor in state_dict.items()}


def _flat(name: str, shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Return the shape of a parameter with the trailing ones of attention weights that `dimensions` needs."""
    pointwise = ATTENTION_WEIGHT.search(name) and len(shape) >= 2 and set(shape[2:]) <= {1}
    return shape[:2] + (1,) * (dimensions - 2) if pointwise else shape


def _read(shapes: Mapping[str, tuple[int, ...]], head_channels: int) -> ADMConfig:
    channels = shapes["time_embed.0.weight"][1]
    inputs, outputs = shapes["input_blocks.0.0.weight"][1], shapes["out.2.weight"][0]
    patch = _patch(inputs, outputs)
    output_blocks = len({name.split(".")[1] for name in shapes if name.startswith("output_blocks.")})
    ups = [name for name in shapes if re.fullmatch(r"output_blocks\.\d+\.[12]\.in_layers\.2\.weight", name)]
    levels = 1 + len(ups)
    blocks = output_blocks // levels - 1
    firsts = [f"input_blocks.{1 + level * (blocks + 1)}" for level in range(levels)]
    return ADMConfig(
        in_channels=inputs // patch**2,
        out_channels=outputs // patch**2,
        channels=channels,
        multipliers=tuple(shapes[f"{first}.0.in_layers.2.weight"][0] // channels for first in firsts),
        blocks=blocks,
        attention=tuple(2**level for level, first in enumerate(firsts) if f"{first}.1.qkv.weight" in shapes),
        head_channels=head_channels,
        patch=patch,
        classes=shapes["label_emb.weight"][0] if "label_emb.weight" in shapes else None,
    )


def _patch(inputs: int, outputs: int) -> int:
    """Return the patch for which the output is an image of 3 channels; 1 where none does."""
    patch = math.isqrt(outputs // IMAGE_CHANNELS)
    fits = patch and outputs == IMAGE_CHANNELS * patch**2 and inputs % patch**2 == 0
    return patch if fits else 1


def _compare(config: ADMConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless the network of these settings has exactly these parameters."""
    try:
        with torch.device("meta"):
            wanted = {name: tuple(tensor.shape) for name, tensor in ADM(config).state_dict().items()}
    except UsageError as error:
        raise ModelError(error.message, hint="specify the channels of an attention head of these weights") from None
    found = {name: _flat(name, shape, 4) for name, shape in shapes.items()}
    odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if odd:
        raise ModelError(
            f"{len(odd)} parameters do not fit an ADM U-Net of {len(config.multipliers)} levels, first '{odd[0]}'"
            f" (expected {wanted.get(odd[0], 'none')}, found {found.get(odd[0], 'none')})",
            hint=HINT,
        )
