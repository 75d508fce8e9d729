"""Which of the images that were found are processed: patterns, and a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

from ddbm_cli.imaging.walk import Skipped

NOT_INCLUDED = "without a match of --include"
EXCLUDED = "excluded by --exclude"
BEYOND = "beyond --limit"
"""Reasons to leave an image out."""


class HasName(Protocol):
    """What is selected by its name."""

    @property
    def name(self) -> str:
        """A path below the input, with forward slashes."""


T = TypeVar("T", bound=HasName)


@dataclass(frozen=True)
class Selection:
    """Patterns such as "*.png", "drafts" or "2024/*", and the number of inputs that are processed at most.

    A pattern is matched with the whole path below the input, with the file's name, and with each folder above it.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    limit: int | None = None

    def apply(self, jobs: Sequence[T], skipped: Skipped) -> list[T]:
        """Return what is processed, and count the others. Several jobs of one name count as one for the limit."""
        chosen: list[T] = []
        names: set[str] = set()
        left: dict[str, str] = {}
        for job in jobs:
            if self.include and not _matches(job.name, self.include):
                left[job.name] = NOT_INCLUDED
            elif _matches(job.name, self.exclude):
                left[job.name] = EXCLUDED
            elif self.limit is not None and job.name not in names and len(names) >= self.limit:
                left[job.name] = BEYOND
            else:
                names.add(job.name)
                chosen.append(job)
        for name, reason in left.items():
            skipped.add(reason, name)
        return chosen


def _matches(name: str, patterns: Sequence[str]) -> bool:
    path = PurePosixPath(name)
    places = [name, path.name, *(part for folder in path.parents if folder.name for part in (str(folder), folder.name))]
    return any(fnmatchcase(place, pattern.rstrip("/")) for place in places for pattern in patterns)
