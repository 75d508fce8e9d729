"""The JSON schema of the lines that commands print with --json, and the manual's table of them, from the events."""

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Any

from ddbm_cli.foundation import events
from ddbm_cli.foundation.event_lines import EVENTS, TICKS, json_key

FILE = Path(__file__).parents[1] / "manual" / "events.schema.json"
MANUAL = Path(__file__).parents[1] / "manual" / "json.md"

PLAIN = {str: "string", int: "integer", bool: "boolean", Path: "string"}

INTRODUCTION = """# JSON lines of --json

With `--json`, a command prints one JSON object per line on standard output, and nothing else there. Text for people
stays on standard error.

- Every line has the key `event`, the name of what happened.
- File names are complete. A byte of a name that is not UTF-8 is a lone surrogate, as Python's `os.fsdecode` makes it.
- NaN and infinity are `null`.
- The last line of a command that works on images is `finished`; of an evaluation it is `reported`, of a training
  `trained`. If an error ends the command, the last line is `error`.
- Consumers must ignore events and keys that they do not know: later releases may add some.

The JSON schema of a line is the file `events.schema.json` next to this page.

```console
$ ddbm translate sketches/ recorded/ --json
$ ddbm weights list --json
```

## Events
"""


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of one line."""
    lines = {name: _line(name, kind) for name, kind in EVENTS.items() if name not in TICKS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of a ddbm command with --json",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in lines],
        "$defs": lines,
    }


def manual() -> str:
    """Return the manual's page of events."""
    parts = [INTRODUCTION]
    for name, kind in EVENTS.items():
        if name in TICKS:
            continue
        keys = [json_key(each) for each in dataclasses.fields(kind)]
        listed = ", ".join(f"`{key}`" if key else "further keys" for key in keys)
        parts.append(f"### {name}\n\n{' '.join((inspect.getdoc(kind) or '').split())}\n\nKeys: {listed}.\n")
    return "\n".join(parts)


def _line(name: str, kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, vars(events))
    fields = dataclasses.fields(kind)
    properties: dict[str, Any] = {"event": {"const": name}}
    properties |= {json_key(each): _schema(hints[each.name]) for each in fields if json_key(each)}
    return {
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": any(not json_key(each) for each in fields),
    }


def _schema(hint: Any) -> dict[str, Any]:
    """Return the schema of a type; of numbers that may be NaN, null too."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is float:
        return {"type": ["number", "null"]}
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if hint is Any:
        return {}
    if hint is type(None):
        return {"type": "null"}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(inner[1])}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(each) for each in inner]}
    if dataclasses.is_dataclass(hint):
        of = typing.get_type_hints(hint)
        properties = {each.name: _schema(of[each.name]) for each in dataclasses.fields(hint)}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    raise TypeError(f"no JSON schema for {hint}")
