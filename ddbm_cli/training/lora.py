"""Low-rank adapters (LoRA, arXiv:2106.09685) in the layers of a network, by peft.

The weights of the network are frozen, and stay the same to the bit. Weights that are not those of the base model, such
as the embeddings of new classes, are trained as a whole.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.adapters import A, Adapter, B, merged
from ddbm_cli.options.lora import Lora

NAME = "default"
"""peft's name of an adapter."""


def inject(network: nn.Module, lora: Lora, *, whole: Sequence[str] = ()) -> int:
    """Give layers of a network adapters that change nothing yet, and freeze all other weights.

    Args:
        network: changed in place.
        whole: names of weights that are trained themselves.

    Returns:
        The number of weights that are trained.

    Raises:
        UsageError: the network has no layers for adapters.
    """
    kind_of: Callable[[str, nn.Module], str] | None = getattr(network, "kind_of_layer", None)
    if kind_of is None:
        raise UsageError("--lora is for networks of type adm or diffusers", hint="leave out --lora")
    from peft import LoraConfig, inject_adapter_in_model

    layers = [name for name, module in network.named_modules() if kind_of(name, module) in lora.targets]
    alpha: Any = lora.scale * lora.rank
    inject_adapter_in_model(LoraConfig(r=lora.rank, lora_alpha=alpha, target_modules=layers), network, NAME)
    trained = set(whole)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(_is_adapter(name) or _plain(name) in trained)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def has_adapter(network: nn.Module) -> bool:
    """Return whether a network has adapters."""
    return any(_is_adapter(name) for name in network.state_dict())


def plain_weights(network: nn.Module, scale: float) -> dict[str, Tensor]:
    """Return the weights of a network under the names that it has without adapters, these merged into them.

    Args:
        network: with adapters, or without.
        scale: of the adapters.
    """
    state = network.state_dict()
    weights = {_plain(name): tensor for name, tensor in state.items() if not _is_adapter(name)}
    for layer, (a, b) in _adapters(state).items():
        weights[f"{layer}.weight"] = merged(weights[f"{layer}.weight"], a, b, scale)
    return weights


def adapter_of(network: nn.Module, scale: float, *, whole: Sequence[str] = ()) -> Adapter:
    """Return what was trained of a network with adapters.

    Args:
        scale: of the adapters.
        whole: names of weights that were trained themselves.
    """
    state = network.state_dict()
    tensors = {_plain(name): tensor for name, tensor in state.items() if _plain(name) in set(whole)}
    for layer, (a, b) in _adapters(state).items():
        tensors |= {layer + A: a, layer + B: b}
    return Adapter(tensors, scale)


def _is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def _plain(name: str) -> str:
    return name.replace(".base_layer.", ".")


def _adapters(state: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A and B by the name of their layer."""
    ends = (f".lora_A.{NAME}.weight", f".lora_B.{NAME}.weight")
    layers = [name.removesuffix(ends[0]) for name in state if name.endswith(ends[0])]
    return {layer: (state[layer + ends[0]], state[layer + ends[1]]) for layer in layers}
