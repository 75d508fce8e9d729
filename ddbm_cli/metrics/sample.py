"""An even sample of a stream, of bounded size, that does not depend on batches."""

import torch
from torch import Tensor

GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, spread evenly over a line."""


class Sample:
    """At most `most` rows of what was added, spread evenly over their places in the list of all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys = torch.empty(0, dtype=torch.float64)
        self.parts: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, index: Tensor, *parts: Tensor) -> None:
        """Add rows: places (N,), and any number of tensors (N, ...) that are kept together."""
        self._keys = torch.cat([self._keys, (index.double() * GOLDEN) % 1])
        self.parts = [torch.cat(pair) for pair in zip(self.parts, parts, strict=True)] if self.parts else [*parts]
        if len(self._keys) > self._most:
            kept = self._keys.argsort()[: self._most]
            self._keys = self._keys[kept]
            self.parts = [part[kept.to(part.device)] for part in self.parts]
