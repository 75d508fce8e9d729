"""What a network is told beside the state: conditions, each a named tensor, any of which may be left out.

The source picture stands beside the state on the channels; a label goes through the network's own embedding. A
condition that is left out is told as nothing: a source of zeros, a label of -1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NO_LABEL = -1


@dataclass(frozen=True)
class Conditions:
    """What is told of a batch.

    label: (B,) whole numbers, or (1,) for all, NO_LABEL where none is told; None for networks without classes.
    shown: (B,) bool, whether the network sees the source; None for always.
    """

    label: Tensor | None = None
    shown: Tensor | None = None

    def see(self, source: Tensor) -> Tensor:
        """Return what the network sees of the source (B, C, H, W)."""
        return source if self.shown is None else source * self.shown.view(-1, 1, 1, 1).to(source)

    def to(self, device: torch.device) -> "Conditions":
        """Return the same on a device."""
        return Conditions(*(None if each is None else each.to(device) for each in (self.label, self.shown)))


NOTHING_TOLD = Conditions()


def dropped(label: Tensor | None, u: Tensor, share: float) -> Conditions:
    """Leave out the source of a share of a training batch, the label of another, and both of a third.

    So one network learns every estimate that guidance combines (InstructPix2Pix, arXiv:2211.09800, Sec. 3.2.1).

    Args:
        label: (B,), None for networks without classes.
        u: (B,) in 0..1, by which the shares are drawn.
        share: 0..1/3 each.
    """
    part = torch.floor(u / share) if share else torch.full_like(u, 3)
    shown = (part != 0) & (part != 2)
    told = None if label is None else torch.where((part == 1) | (part == 2), NO_LABEL, label)
    return Conditions(told, shown if share else None)
