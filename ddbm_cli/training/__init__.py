"""Training: batches, the loop, and all that resumes a run."""

from ddbm_cli.foundation.events import Saved, Stepped, Validated
from ddbm_cli.training.batches import Batches
from ddbm_cli.training.loop import Fit, Recipe

__all__ = ["Batches", "Fit", "Recipe", "Saved", "Stepped", "Validated"]
