"""Events of tasks; all events are declared in `foundation.events`."""

from ddbm_cli.foundation.events import (
    Arrived,
    BatchStarted,
    Compared,
    Doubted,
    Evaluated,
    Failed,
    Finished,
    Importing,
    Intended,
    Kept,
    Made,
    Noticed,
    Planned,
    Pulling,
    Surveying,
    Written,
)

__all__ = [
    "Arrived",
    "BatchStarted",
    "Compared",
    "Evaluated",
    "Event",
    "Failed",
    "Finished",
    "Intended",
    "Kept",
    "Loading",
    "Made",
    "Noticed",
    "Planned",
    "Written",
]

Loading = Pulling | Importing | Surveying | Doubted | Noticed
Event = (
    Loading
    | Planned
    | Arrived
    | BatchStarted
    | Evaluated
    | Written
    | Made
    | Kept
    | Intended
    | Failed
    | Compared
    | Finished
)
