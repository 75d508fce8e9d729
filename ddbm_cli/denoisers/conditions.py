"""Conditions: the network's inputs besides the state and the time.

The source is concatenated to the state on the channels, and after it noise, for networks that take some; a class
has an embedding in the network, and a text an encoder, of the network or before it. Where a condition is dropped, the
source is zeros, and the class, every token or every feature is -1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NO_LABEL = -1


@dataclass(frozen=True)
class Conditions:
    """The conditions of a batch.

    label: (B,) numbers of classes, (B, L) tokens of texts, or (B, L, width) features of texts; with 1 in place of B for
        the whole batch. NO_LABEL for no class, and after the end of a text. None for networks that take neither.
    use_source: (B,) bool, False where the source is dropped; None where it never is.
    noise: (B, N, H, W), standard normal, for networks with N channels of noise; None for zeros.
    """

    label: Tensor | None = None
    use_source: Tensor | None = None
    noise: Tensor | None = None

    def source_input(self, source: Tensor) -> Tensor:
        """Return the network's input for a source (B, C, H, W): zeros where it is dropped."""
        return source if self.use_source is None else source * self.use_source.view(-1, 1, 1, 1).to(source)

    def to(self, device: torch.device) -> "Conditions":
        """Return the same on a device."""
        given = (self.label, self.use_source, self.noise)
        return Conditions(*(None if each is None else each.to(device) for each in given))


NO_CONDITIONS = Conditions()


def dropped(label: Tensor | None, u: Tensor, share: float) -> Conditions:
    """Return the conditions of a training batch with dropout: without source, label, or both.

    One network then learns every estimate that guidance combines (InstructPix2Pix, arXiv:2211.09800, Sec. 3.2.1).

    Args:
        label: as of `Conditions`, None for networks without classes and texts.
        u: (B,) uniform in 0..1, decides which share each image is in.
        share: of each of the three, 0..1/3.
    """
    part = torch.floor(u / share) if share else torch.full_like(u, 3)
    use_source = (part != 0) & (part != 2)
    is_dropped = (part == 1) | (part == 2)
    kept = None if label is None else torch.where(is_dropped.view(-1, *[1] * (label.ndim - 1)), NO_LABEL, label)
    return Conditions(kept, use_source if share else None)
