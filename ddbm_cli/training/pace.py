"""How long the parts of a run take, measured while it runs, and how many steps a time budget is expected to hold."""

from dataclasses import dataclass

from ddbm_cli.training.budget import Budget


@dataclass
class Pace:
    """Seconds per step, validation and save of a session.

    Args:
        batch_size: images that a step passes through the network.
        validation_size: images that a validation passes through it.
    """

    batch_size: int
    validation_size: int = 0
    step: float = 0.0
    validation: float = 0.0
    save: float = 0.0

    def stepped(self, seconds: float) -> None:
        """Take the seconds of a step into their moving average."""
        self.step = 0.9 * self.step + 0.1 * seconds if self.step else seconds

    @property
    def reserve(self) -> float:
        """The seconds that the last step, validation and save are expected to take."""
        # A step passes each image forward and backward, which costs about three evaluations.
        guess = self.step * self.validation_size / (3 * self.batch_size)
        return (self.validation or guess) + 2 * self.save + 2 * self.step

    def total(self, step: int, steps: int, budget: Budget | None) -> int:
        """Return how many steps a run is expected to have after `step` of them: all, or as many as the budget holds."""
        if budget is None or not self.step:
            return steps
        more = max(0, int(budget.training_left(self.reserve) / self.step))
        return min(steps, step + more)
