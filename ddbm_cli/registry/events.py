"""Events while a model is located; all events are declared in `foundation.events`."""

from ddbm_cli.foundation.events import Doubted, Importing, Noticed, Pulling, Surveying

__all__ = ["Doubted", "Importing", "Noticed", "Pulling", "Surveying"]
