"""How an event becomes a JSON line: {"event": NAME, KEY: value, ...}.

NAME is the class's name in snake_case, and the keys are the class's fields, in the order of their declaration.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

from ddbm_cli.foundation.frozen import frozen
from ddbm_cli.foundation.text import plain

T = TypeVar("T")

EVENTS: dict[str, type] = {}
"""All events, by the names that JSON lines give them."""

TICKS: set[str] = set()
"""Events that only move a bar, and are no JSON lines."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def event(*, ticks: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class an event: a frozen, keyword-only dataclass with a name in JSON lines."""

    def make(cls: type[T]) -> type[T]:
        made = frozen(cls)
        EVENTS[event_name(made)] = made
        if ticks:
            TICKS.add(event_name(made))
        return made

    return make


def event_name(kind: type) -> str:
    """Return the name of an event in JSON lines."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def json_key(each: "dataclasses.Field[Any]") -> str:
    """Return the key of a field in JSON lines; "" for a field whose own keys are written in its place."""
    return str(each.metadata.get("key", each.name))


def as_record(happened: Any) -> dict[str, Any]:
    """Return the JSON line of an event, as a dictionary of plain values."""
    record: dict[str, Any] = {"event": event_name(type(happened))}
    for each in dataclasses.fields(happened):
        value, key = plain(getattr(happened, each.name)), json_key(each)
        record |= {key: value} if key else {name: fact for name, fact in value.items() if name not in record}
    return record


def key(name: str) -> dict[str, str]:
    """Return the metadata of a field that has this key in JSON lines; "" writes the field's own keys."""
    return {"key": name}
