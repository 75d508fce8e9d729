"""The losses and gradient norms of steps, which stay on the device until they are read, and what they say of a run."""

import math

import torch
from torch import Tensor

EXPLODED = 1000.0
"""Factor of the first loss of a session from which a run has diverged, though all of its numbers are finite. A state
with such weights could never be trained on."""

LEAST_LOSS = 0.1
"""What counts as the first loss where that is smaller, as of a model that is trained already."""


class Diverged(Exception):
    """The loss, the gradient or the weights contain NaN or infinity, or the loss has exploded.

    Args:
        step: the step that failed, counted from 1.
        what: what was found.
    """

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"{what} at step {step}")


class Losses:
    """Losses and gradient norms since the last read.

    Args:
        most_skipped: steps in a row that may be skipped because their loss or gradient is not finite. They have no
            effect on the weights.
    """

    def __init__(self, *, most_skipped: int) -> None:
        self._most_skipped = most_skipped
        self._pending: list[Tensor] = []
        self._first_loss = 0.0
        self._in_a_row = 0
        self.skipped = 0
        """Steps that were skipped in this run."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_finite(self) -> bool:
        """Whether the last step that was read had a finite loss and gradient."""
        return self._in_a_row == 0

    def add(self, values: Tensor) -> None:
        """Add the loss and the gradient norm (2,) of a step."""
        self._pending.append(values)

    def read(self, step: int) -> tuple[float, float]:
        """Read and check what was added; return the mean loss and the last norm of the steps that were not skipped.

        Args:
            step: the last step that was added, counted from 1.

        Raises:
            Diverged: more steps in a row than allowed are not finite, or the loss has exploded.
        """
        rows = torch.stack(self._pending).tolist()
        self._pending = []
        first = step - len(rows) + 1
        used = [(loss, norm) for number, (loss, norm) in enumerate(rows, first) if self._is_used(number, loss, norm)]
        if not used:
            return self._first_loss, 0.0
        return sum(loss for loss, _ in used) / len(used), used[-1][1]

    def _is_used(self, step: int, loss: float, norm: float) -> bool:
        """Return whether a step had an effect."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._in_a_row += 1
            if self._in_a_row > self._most_skipped:
                what = f"the {'gradient' if math.isfinite(loss) else 'loss'} contains NaN or infinity"
                raise Diverged(
                    step, f"{what} in {self._in_a_row} steps in a row, the last" if self._most_skipped else what
                )
            self.skipped += 1
            return False
        self._in_a_row = 0
        self._first_loss = self._first_loss or max(loss, LEAST_LOSS)
        if loss > EXPLODED * self._first_loss:
            raise Diverged(step, f"the loss rose from {self._first_loss:.2g} to {loss:.2g}")
        return True
