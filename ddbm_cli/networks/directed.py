"""Two networks, one for each direction between two sets of images, in the place of one with an embedding of it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Directed(nn.Module):
    """F(x, time, label): each row goes through the network of its label.

    Args:
        networks: by name, in the order of their labels; the names begin those of their weights. All of one shape.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)
        first = next(iter(networks.values()))
        self.size_multiple = int(getattr(first, "size_multiple", 1))
        self.batch_invariant = bool(getattr(first, "batch_invariant", False))

    @property
    def recomputable(self) -> list[nn.Module]:
        """The blocks whose activations can be computed a second time in the backward pass instead of kept."""
        return [block for network in self.children() for block in getattr(network, "recomputable", [])]

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Return F (B, out_channels, H, W).

        Args:
            x: (B, in_channels, H, W). time: (B,), or (1,) for the whole batch.
            label: (B,) integers, or (1,) for the whole batch.
        """
        networks = list(self.children())
        if len(label) == 1:
            found: Tensor = networks[int(label)](x, time)
            return found
        rows = [(label == number).nonzero().squeeze(1) for number in range(len(networks))]
        parts = [
            network(x[own], time if len(time) == 1 else time[own]) for network, own in zip(networks, rows, strict=True)
        ]
        return torch.cat(parts)[torch.cat(rows).argsort()]
