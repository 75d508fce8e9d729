"""Shared self-attention between pairs of a batch (prompt-to-prompt, arXiv:2208.01626; InstructPix2Pix, Sec. 3.1.2).

With softmax(Q K^T / sqrt(d)) V the attention of an image, the second image of each pair gets the Q and K of the first,
so that both have the same weights, and each its own V.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Sharing:
    """Whether pairs share their self-attention now: `on`, False at first."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, module: nn.Module, given: Any, output: Tensor) -> Tensor | None:
        """Return Q or K (B, N, C) of a layer for a batch of pairs; None leaves them as they are."""
        return output[0::2].repeat_interleave(2, dim=0) if self.on else None


@contextmanager
def shared_self_attention(network: nn.Module) -> Iterator[Sharing]:
    """Let the images of a batch, before | after | before | after ..., share their self-attention.

    Args:
        network: with attention layers of diffusers. Cross-attention to texts is left alone.

    Yields:
        What switches it on and off; after the block it is off.
    """
    sharing = Sharing()
    layers = [module for module in network.modules() if getattr(module, "is_cross_attention", None) is False]
    hooks = [getattr(layer, name).register_forward_hook(sharing) for layer in layers for name in ("to_q", "to_k")]
    try:
        yield sharing
    finally:
        for hook in hooks:
            hook.remove()
