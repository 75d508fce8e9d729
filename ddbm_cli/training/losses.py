"""The losses and gradient norms of steps, which stay on the device until they are read, and what they say of a run."""

import math

import torch
from torch import Tensor

from ddbm_cli.training.processes import Processes

EXPLODED = 1000.0
"""Factor of the first loss of a session from which a run has diverged, though all of its numbers are finite. A state
with such weights could never be trained on."""

MOST_SKIPPED = 30
"""Steps in a row that may be skipped in fp16; the scale of the loss is halved by each."""

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
        processes: those that each hold the loss of their own rows.
        may_skip: steps with a gradient that is not finite have no effect, as in fp16.
    """

    def __init__(self, processes: Processes, *, may_skip: bool) -> None:
        self._processes = processes
        self._may_skip = may_skip
        self._pending: list[Tensor] = []
        self._first_loss = 0.0
        self._in_a_row = 0
        self.skipped = 0
        """Steps that were skipped in this session."""

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, values: Tensor) -> None:
        """Add the loss and the gradient norm (2,) of a step."""
        self._pending.append(values)

    def read(self, step: int) -> tuple[float, float]:
        """Read and check what was added; return the mean loss and the last norm.

        Args:
            step: the last step that was added, counted from 1.

        Raises:
            Diverged: a value is not finite, or the loss has exploded.
        """
        rows = self._processes.mean(torch.stack(self._pending)).tolist()
        self._pending = []
        losses = []
        for number, (loss, norm) in enumerate(rows, start=step - len(rows) + 1):
            if self._is_used(number, loss, norm):
                self._in_a_row = 0
                losses.append(loss)
        last = rows[-1][1]
        return sum(losses) / len(losses) if losses else self._first_loss, last if math.isfinite(last) else 0.0

    def _is_used(self, step: int, loss: float, norm: float) -> bool:
        """Return whether a step had an effect."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            if self._may_skip and self._in_a_row < MOST_SKIPPED:
                self._in_a_row += 1
                self.skipped += 1
                return False
            raise Diverged(step, f"the {'gradient' if math.isfinite(loss) else 'loss'} contains NaN or infinity")
        self._first_loss = self._first_loss or max(loss, LEAST_LOSS)
        if loss > EXPLODED * self._first_loss:
            raise Diverged(step, f"the loss rose from {self._first_loss:.2g} to {loss:.2g}")
        return True
