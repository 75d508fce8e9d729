"""Memory next to the weights of a large model: packed weights, and what the C library keeps."""

import ctypes
from contextlib import suppress

import torch
from torch import nn

from ddbm_cli.foundation.devices import memory_of

LARGE = 2**29
"""Bytes of weights above which freed blocks are returned."""

SHARE = 8
"""Packed weights are kept where all weights are at most one part in so many of the memory of the machine."""

LARGE_BLOCK = 2**23
_M_MMAP_THRESHOLD = -3


def has_room(module: nn.Module) -> bool:
    """Return whether this machine has the memory for packed weights of a module: all of it, not what is free now,
    so that a model computes the same at each run."""
    weights = sum(each.numel() * each.element_size() for each in module.parameters())
    return weights * SHARE <= memory_of(torch.device("cpu"))


def return_large_blocks() -> None:
    """Make glibc return freed blocks of 8 MiB and more to the system at once; without effect on other C libraries.

    By default it keeps blocks of up to 32 MiB. A U-Net at 256 pixels frees blocks of many sizes, few of which are used
    again, so that 0.2 GB stay allocated. Small networks are a tenth faster with the default.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
