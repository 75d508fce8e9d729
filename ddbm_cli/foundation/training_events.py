"""Events of a training; `events` has the others."""

from pathlib import Path
from typing import Literal

from ddbm_cli.foundation.event_lines import event


@event()
class Stepped:
    """A step is done; `loss` is its mean over the batch, `rate` the learning rate, `seconds` the run's time so far.

    total: steps of the whole run; with a time budget, how many are expected to fit into it. gradient_norm: before it
    is clipped. On a GPU some steps pass between two events; `loss` is then the mean over them. skipped: steps of the
    run that had no effect, because their loss or gradient was not finite.
    """

    step: int
    total: int
    loss: float
    rate: float
    seconds: float
    gradient_norm: float = 0.0
    skipped: int = 0


@event()
class Validated:
    """The averaged weights were scored on held-out data after `step` steps. best: the lowest loss so far."""

    step: int
    scores: dict[str, float]
    best: bool


@event()
class Sampled:
    """A sheet of samples for held-out images was written after `step` steps.

    group: images of the sheet that belong together, such as source, result and target. width, height: of one image.
    """

    step: int
    path: Path
    group: int
    width: int
    height: int


@event()
class Saved:
    """The state of the run is on disk; a resumed run continues after `step`."""

    step: int
    path: Path


@event()
class Trained:
    """A session of training ended, or was stopped with its state saved.

    output: the model. reason: all steps are done, the time or the patience is used up, or the user stopped it.
    next_command: what to run next; resume_command: how to train longer.
    """

    output: Path
    run: Path
    step: int
    total: int
    seconds: float = 0.0
    reason: Literal["steps", "hours", "patience", "stopped"] = "steps"
    stopped: bool = False
    next_command: str = ""
    resume_command: str = ""
