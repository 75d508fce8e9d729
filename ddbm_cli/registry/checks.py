"""What a table of a registry file may hold: the fields of `Entry`, within limits."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.registry.entries import REPO, Entry

LIMITS: dict[str, dict[str, Any]] = {
    "name": {"pattern": r"^\w[\w.-]*$"},
    "file": {"min_length": 1},
    "repo": {"pattern": f"^({REPO})?$"},
    "revision": {"min_length": 1},
    "size": {"ge": 1},
    "sha256": {"pattern": "^([0-9a-f]{64})?$"},
    "parameters": {"ge": 1},
}
KINDS = typing.get_type_hints(Entry)


def _field(field: dataclasses.Field[Any]) -> tuple[Any, Any]:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    unsaid = ... if default is dataclasses.MISSING else default
    return KINDS[field.name], Field(unsaid, **LIMITS.get(field.name, {}))


FIELDS: dict[str, Any] = {each.name: _field(each) for each in dataclasses.fields(Entry) if each.name != "origin"}
Table = pydantic.create_model("Table", __config__=pydantic.ConfigDict(extra="forbid", allow_inf_nan=False), **FIELDS)


def checked(path: Path, name: str, table: Any, remedy: str) -> dict[str, Any]:
    """Return a table as it is, if `Entry` can be made of it.

    Raises:
        UsageError: a field is unknown, missing or out of its limits; `remedy` is the hint.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name}: a registry holds tables, one for each model", hint=remedy)
    try:
        found: dict[str, Any] = Table.model_validate({"name": name, **table}).model_dump(exclude_unset=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        known = ", ".join(each for each in FIELDS if each != "name")
        hint = f"a table may have: {known}" if first["type"] == "extra_forbidden" else remedy
        raise UsageError(f"{path}: {place}: {first['msg']}", hint=hint) from None
    if not (found.get("repo") or found.get("url") or found.get("builtin")):
        raise UsageError(f"{path}: {name}: it says not where its file is", hint='add repo = "owner/name"')
    if found.get("importer") and not found.get("card"):
        raise UsageError(f"{path}: {name}: a file to be imported needs a card", hint=f"add a table [{name}.card]")
    return found
