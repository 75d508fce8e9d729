"""Settings: frozen records of plain values, and the registries that build them by name.

A setting is written in three places that must agree: Python, the JSON card of a model and the command line.
Each has one form, read here and nowhere else:

    Python     Implicit(eta=0.5)
    JSON       {"name": "implicit", "eta": 0.5}
    shell      implicit:eta=0.5

A list in the shell form is joined by hyphens: adm:multipliers=1-2-2-3.
"""

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, dataclass_transform

import pydantic
from pydantic.dataclasses import dataclass as checked_dataclass

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.renamed import current_fields, current_name

T = TypeVar("T")

TABLES = ("recipe", "sampling")
"""Fields of requests that are tables of their own, whose fields are options like the others."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only dataclass whose values are checked against its annotations."""
    checked = checked_dataclass(
        frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
    )
    return typing.cast(type[T], checked(cls))


def from_options(kind: type[T], given: Mapping[str, Any], *, command: str) -> T:
    """Return what a command is asked for, built of its options' values.

    Raises:
        UsageError: a value is of another kind, or out of its range; told as the option that gave it.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = next(str(part) for part in first["loc"] if part not in TABLES)
        option = place.replace("_", "-").removesuffix("-name")
        raise UsageError(f"--{option} {first['input']}: {first['msg']}", hint=f"see: ddbm {command} --help") from None


def describe(value: Any) -> dict[str, Any]:
    """Return the JSON form of a named setting, {"name": ..., field: value, ...}; the inverse of `build`."""
    fields: dict[str, Any] = pydantic.TypeAdapter(type(value)).dump_python(value, mode="json")
    return {"name": value.name, **fields}


def spell(value: Any) -> str:
    """Return the shell form of a named setting, without the fields that are not set."""
    fields = [(name, given) for name, given in describe(value).items() if name != "name" and given is not None]
    written = [f"{name}={'-'.join(map(str, given)) if isinstance(given, list) else given}" for name, given in fields]
    return f"{value.name}:{','.join(written)}" if written else str(value.name)


def build(kinds: Mapping[str, type[T]], spec: str | Mapping[str, Any], *, what: str) -> T:
    """Build the setting that a shell or JSON form names.

    Args:
        kinds: the registry, name -> class.
        spec: "name:field=value,..." or {"name": ..., field: value}.
        what: the word for errors, such as "sampler".

    Raises:
        UsageError: unknown name, unknown field, or a value out of its range.
    """
    name, fields = _split(spec) if isinstance(spec, str) else _pop_name(spec)
    name = current_name(name)
    fields = current_fields(name, fields)
    if name not in kinds:
        raise UsageError(f"unknown {what} '{name}'", hint=f"choose one of: {', '.join(kinds)}")
    kind = kinds[name]
    hints = typing.get_type_hints(kind)
    known = {field.name: hints[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for field in list(fields):
        if field not in known:
            raise UsageError(
                f"{what} '{name}' has no field '{field}'",
                hint=f"its fields: {', '.join(known)}" if known else f"'{name}' takes no fields",
            )
        if isinstance(spec, str) and typing.get_origin(known[field]) is tuple:
            fields[field] = re.split("(?<!e)-", fields[field])  # 1e-05 is one number
    try:
        return kind(**fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or name
        raise UsageError(
            f"{what} '{name}': {place} = {first['input']!r} does not fit",
            hint=f"{first['msg'][:1].lower()}{first['msg'][1:]}",
        ) from None


def _split(spec: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = spec.partition(":")
    fields: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        field, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"cannot read '{item}' in '{spec}'", hint="write NAME:field=value,field=value")
        fields[field.strip().replace("-", "_")] = value.strip()
    return name.strip(), fields


def _pop_name(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    fields = dict(spec)
    return str(fields.pop("name", "")), fields
