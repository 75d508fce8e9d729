"""Noise that belongs to an image, not to a batch.

Each image has a stream of its own, seeded by (seed, name, draw) and drawn on the CPU. So the result for an image does
not depend on batch size, order, neighbours, device, or on where an interrupted run went on.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


class NoiseSource:
    """Standard normal noise for a batch of images.

    Args:
        seed: the user's seed.
        names: what tells each image of the batch from all others, such as its relative path.
        draw: number of the sample, where several are made of each image.
    """

    def __init__(self, seed: int, names: Sequence[str], draw: int = 0) -> None:
        self._streams = [torch.Generator().manual_seed(_stream_seed(seed, name, draw)) for name in names]

    def __call__(self, like: Tensor) -> Tensor:
        """Return the next noise of each stream, in the shape (B, C, H, W), dtype and device of `like`."""
        if len(like) != len(self._streams):
            raise ValueError(f"{len(self._streams)} noise streams for a batch of {len(like)}")
        noise = [torch.randn(like.shape[1:], generator=stream, dtype=torch.float32) for stream in self._streams]
        return torch.stack(noise).to(like)


def _stream_seed(seed: int, name: str, draw: int) -> int:
    digest = hashlib.sha256(f"{seed}\n{draw}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes 63 bits
