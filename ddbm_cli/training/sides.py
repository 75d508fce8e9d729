"""Batches of two sets of images without pairs, for both directions between them.

The rows of a batch alternate: one goes from A to B, the next from B to A. Its target is an image of the side that it
goes to, its source an independent one of the other, and its label is the number of its direction, 0 or 1. The images of
a batch are a function of its step, as those of `batches`; the two sides are shuffled independently.
"""

from collections.abc import Generator

import torch
from torch import Tensor

from ddbm_cli.denoisers import Conditions
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.training.batches import Batch, Batches

A_TO_B, B_TO_A = 0, 1


class TwoSides:
    """Two sets of images as batches.

    Args:
        first, second: the images of A and of B, each as targets, in batches of one size.
    """

    def __init__(self, first: Batches, second: Batches) -> None:
        self.sides = (first, second)

    @property
    def rows(self) -> slice:
        """The part of each batch that is returned, for one of several processes; it begins with an even row."""
        return self.sides[0].rows

    @rows.setter
    def rows(self, rows: slice) -> None:
        for side in self.sides:
            side.rows = rows

    def __len__(self) -> int:
        """Return how many images there are of both sides."""
        return sum(map(len, self.sides))

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, on the CPU.

        Raises:
            DdbmError: most images of a side cannot be used.
        """
        return _joined(*(side[step] for side in self.sides))

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Yield the batches from `step` on, in order; the next ones are prepared by threads meanwhile."""
        for first, second in zip(*(side.from_step(step) for side in self.sides), strict=True):
            yield _joined(first, second)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image of B and one of A (3, H, W), which do not belong together, as target and source."""
        first, second = self.sides
        return second.pair(index % len(second))[0], first.pair(index % len(first))[0]

    def states(self, index: int) -> tuple[Tensor, Tensor]:
        """Return `pair` as a batch holds it: images, or latents (C, h, w)."""
        first, second = self.sides
        return second.states(index % len(second))[0], first.states(index % len(first))[0]

    def check(self, *, decode: bool) -> None:
        """Look for images that cannot be used; see `Batches.check`."""
        for side in self.sides:
            side.check(decode=decode)

    def require(self) -> None:
        """Raise an error if more than half of the images of a side cannot be used.

        Raises:
            DdbmError: so it is.
        """
        for side in self.sides:
            side.require()

    def new_failures(self) -> list[ImageError]:
        """Return the faults that were found since the last call."""
        return [error for side in self.sides for error in side.new_failures()]


def directions(rows: int) -> Tensor:
    """Return the direction of each of some rows (B,), int64."""
    return torch.arange(rows) % 2


def _joined(first: Batch, second: Batch) -> Batch:
    """Return the batch of images of A and of B, with the times and the noise of the first."""
    label = directions(len(first.target))
    to_b = (label == A_TO_B).view(-1, 1, 1, 1)
    target = torch.where(to_b, second.target, first.target)
    source = torch.where(to_b, first.target, second.target)
    return Batch(target, source, first.u, first.eps, Conditions(label))


def parts_of(batches: Batches | TwoSides) -> tuple[Batches, ...]:
    """Return the batches of each side, or those of pairs alone."""
    return batches.sides if isinstance(batches, TwoSides) else (batches,)
