"""A time budget: how long a run may still train, with room for its last validation and checkpoint."""

import time
from dataclasses import dataclass, field

SAFETY = 1.2
"""Factor on the measured cost of the last validation and checkpoint."""


@dataclass
class Budget:
    """Wall-clock time of a run.

    Args:
        seconds: the whole budget.
        used: what earlier sessions of the run used of it.
        began: when this session began, by `time.monotonic`.
    """

    seconds: float
    used: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Seconds used so far, earlier sessions included."""
        return self.used + time.monotonic() - self.began

    def training_left(self, reserve: float) -> float:
        """Return the seconds that are left for steps; at most half of the budget is reserved."""
        return self.seconds - min(SAFETY * reserve, self.seconds / 2) - self.spent

    def share_left(self, reserve: float) -> float:
        """Return which fraction of the time for steps is left, 0..1."""
        whole = self.seconds - min(SAFETY * reserve, self.seconds / 2)
        return min(max(self.training_left(reserve) / whole, 0.0), 1.0)
