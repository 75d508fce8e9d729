"""The memory format of convolutional networks: channels last, where group normalisation keeps it.

Convolutions are faster with channels last on most devices. In some builds of PyTorch, group normalisation on a GPU
returns channels first (pytorch#111824), so that every block would copy its input. Compiled networks are not affected.
"""

import torch
import torch.nn.functional as F
from torch import nn

GROUPS, SIDE = 32, 8


def keeps_channels_last(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether group normalisation returns channels last for channels last; a small image is computed."""
    x = torch.zeros(2, 2 * GROUPS, SIDE, SIDE, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return F.group_norm(x, GROUPS).is_contiguous(memory_format=torch.channels_last)


def best_memory_format(device: torch.device, dtype: torch.dtype, *, compiled: bool = False) -> torch.memory_format:
    """Return the memory format of networks on a device."""
    kept = compiled or keeps_channels_last(device, dtype)
    return torch.channels_last if kept else torch.contiguous_format


def set_memory_format(network: nn.Module, chosen: torch.memory_format) -> None:
    """Set the memory format of a network's weights and images, of networks that have one."""
    if getattr(network, "memory_format", chosen) != chosen:
        network.to(memory_format=chosen)  # type: ignore[call-overload]
        network.memory_format = chosen  # type: ignore[assignment]
