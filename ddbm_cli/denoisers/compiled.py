"""A network compiled by torch.compile, for inputs of one shape: smaller batches are padded to the largest so far.

Compiling takes tens of seconds for each shape. The last batch of a folder is often smaller than the others.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Compiled(nn.Module):
    """Calls `network`, compiled, with batches of one size.

    Args:
        network: F(input, time) or F(input, time, label).
        compile: as torch.compile.
    """

    batch_invariant = False

    def __init__(self, network: nn.Module, *, compile: Callable[..., Any] = torch.compile) -> None:
        super().__init__()
        self.network = network
        self.size_multiple = int(getattr(network, "size_multiple", 1))
        self._size = 0
        self._call: Any = compile(network, dynamic=False)

    def forward(self, x: Tensor, time: Tensor, *label: Tensor) -> Tensor:
        """Return what the network returns for x (B, C, H, W); the other arguments are of (B,), or (1,) for all."""
        count = len(x)
        self._size = max(self._size, count)
        output: Tensor = self._call(*(padded(each, count, self._size) for each in (x, time, *label)))
        return output[:count].clone() if count < self._size else output


def padded(values: Tensor, count: int, size: int) -> Tensor:
    """Return values (count, ...) with the last repeated, (size, ...); values (1, ...) for all stay as they are."""
    if len(values) != count or count == size or (values.ndim == 1 and count == 1):
        return values
    return torch.cat([values, values[-1:].expand(size - count, *values.shape[1:])])
