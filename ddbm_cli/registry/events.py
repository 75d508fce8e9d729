"""What happens while a model is being fetched; records like those of a task."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pulling:
    """Bytes of a download are on the disk: `done` of `total`, None if that is unknown."""

    file: str
    done: int
    total: int | None


@dataclass(frozen=True, kw_only=True)
class Importing:
    """A downloaded file is being converted, which takes a while, and is done once."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Doubted:
    """A model looks wrong; `text` says in what. It is used all the same."""

    name: str
    text: str
