"""What happens while a model is being located; records like those of a task."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pulling:
    """Bytes of a download are on the disk: `done` of `total`, None if that is unknown."""

    file: str
    done: int
    total: int | None


@dataclass(frozen=True, kw_only=True)
class Importing:
    """A downloaded file is being converted. This takes a while and is done once."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Doubted:
    """The self-check of a model found something; `text` says what. The model is used."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Noticed:
    """A fact that the user should read, such as which registry a model comes from."""

    text: str
