"""Training: batches, the loop, and the state that a run is resumed from."""

from ddbm_cli.foundation.events import Saved, Stepped, Validated
from ddbm_cli.training.batches import Batches
from ddbm_cli.training.budget import Budget
from ddbm_cli.training.loop import Fit, Interrupted, Recipe
from ddbm_cli.training.losses import Diverged

__all__ = ["Batches", "Budget", "Diverged", "Fit", "Interrupted", "Recipe", "Saved", "Stepped", "Validated"]
