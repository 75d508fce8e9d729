"""Values that belong to a time: sampling asks for the same few, batch after batch."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

MOST = 4096
"""Values that are kept; more than any usual plan has times."""


class PerTime:
    """Keeps what is computed for one time of a whole batch. The values must not be changed in place.

    Several times at once, times on other devices, which would have to be waited for, and times in inference mode, whose
    tensors have no gradients, are computed anew.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def __call__(self, t: Tensor, compute: Callable[[], T], *more: Hashable) -> T:
        """Return the value at t, computed if it is not kept.

        Args:
            more: what else the value depends on.
        """
        if t.ndim or t.device.type != "cpu" or torch.is_inference_mode_enabled():
            return compute()
        key = (float(t), *more)
        if key not in self._found:
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[key] = compute()
        value: T = self._found[key]
        return value
