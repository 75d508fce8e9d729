"""Events while a model is located; all events are declared in `foundation.events`."""

from collections.abc import Generator
from typing import TypeVar

from ddbm_cli.foundation.events import Doubted, Importing, Noticed, Pulling, Surveying

T = TypeVar("T")

Locating = Generator[Pulling | Importing | Surveying | Doubted | Noticed, None, T]
"""Yields the events of downloads and conversions, and returns what was located."""

__all__ = ["Doubted", "Importing", "Locating", "Noticed", "Pulling", "Surveying"]
