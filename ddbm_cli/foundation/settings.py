"""Settings: frozen records of plain values, and the registries that build them by name.

A setting is written in three places that must agree: Python, the JSON card of a model and the command line.
Each has one form, read here and nowhere else:

    Python     Implicit(eta=0.5)
    JSON       {"name": "implicit", "eta": 0.5}
    shell      implicit:eta=0.5

A list in the shell form is joined by hyphens: adm:multipliers=1-2-2-3. Of settings with tables in them, the shell form
is the JSON form.
"""

import dataclasses
import json
import re
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from ddbm_cli.foundation import plugins
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.frozen import frozen
from ddbm_cli.foundation.renamed import current_fields, current_name

if TYPE_CHECKING:
    import pydantic

T = TypeVar("T")

CONFIG: Any = {"extra": "forbid", "allow_inf_nan": False}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only dataclass whose values are checked against its annotations.

    pydantic checks, and is imported by the first instance, not by the declaration.
    """
    cls.__pydantic_config__ = CONFIG  # type: ignore[attr-defined]
    if "__post_init__" not in vars(cls):
        cls.__post_init__ = _check  # type: ignore[attr-defined]
    return frozen(cls)


def _check(instance: Any) -> None:
    """Check the values of a new instance, and convert them to the types of their fields."""
    kind: Any = type(instance)
    given = {field.name: getattr(instance, field.name) for field in dataclasses.fields(kind)}
    for name, value in _fields_of(kind).validate_python(given).items():
        if value is not given[name]:
            object.__setattr__(instance, name, value)


@cache
def _fields_of(kind: Any) -> "pydantic.TypeAdapter[Any]":
    """Return what checks a mapping of a class's fields."""
    import pydantic
    from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    table = TypedDict(kind.__name__, {name: hints[name] for name in names})  # type: ignore[misc]
    return pydantic.TypeAdapter(pydantic.with_config(CONFIG)(table))


@cache
def adapter(kind: Any) -> "pydantic.TypeAdapter[Any]":
    """Return what reads and writes a settings class as plain values."""
    import pydantic

    return pydantic.TypeAdapter(kind)


def describe(value: Any) -> dict[str, Any]:
    """Return the JSON form of a named setting, {"name": ..., field: value, ...}; the inverse of `build`."""
    kind: Any = type(value)
    fields: dict[str, Any] = adapter(kind).dump_python(value, mode="json")
    return {"name": value.name, **fields}


def spell(value: Any) -> str:
    """Return the shell form of a named setting, without the fields that are not set."""
    body = {name: given for name, given in describe(value).items() if given is not None}
    if any(isinstance(given, dict) for given in body.values()):
        return json.dumps(body)
    fields = [(name, given) for name, given in body.items() if name != "name"]
    written = [f"{name}={'-'.join(map(str, given)) if isinstance(given, list) else given}" for name, given in fields]
    return f"{value.name}:{','.join(written)}" if written else str(value.name)


def build(kinds: Mapping[str, type[T]], spec: str | Mapping[str, Any] | T, *, what: str) -> T:
    """Build the setting that a shell or JSON form names; return one that is built already.

    Args:
        kinds: the registry, name -> class.
        spec: a shell form, {"name": ..., field: value}, or a setting of the registry.
        what: the word for errors, such as "sampler".

    Raises:
        UsageError: unknown name, unknown field, or a value out of its range.
    """
    if isinstance(spec, tuple(kinds.values())):
        return typing.cast(T, spec)
    fields: dict[str, Any]
    name, fields = split_spec(spec) if isinstance(spec, str) else _pop_name(typing.cast(Mapping[str, Any], spec))
    name = current_name(name)
    fields = current_fields(name, fields)
    kind = kinds[name] if name in kinds else plugins.find(f"{what}s", name)
    if kind is None:
        raise UsageError(f"unknown {what} '{name}'", hint=f"choose one of: {', '.join(kinds)}")
    hints = typing.get_type_hints(kind)
    known = {field.name: hints[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for field in list(fields):
        if field not in known:
            raise UsageError(
                f"{what} '{name}' has no field '{field}'",
                hint=f"its fields: {', '.join(known)}" if known else f"'{name}' takes no fields",
            )
        if isinstance(spec, str) and isinstance(fields[field], str) and typing.get_origin(known[field]) is tuple:
            fields[field] = re.split("(?<!e)-", fields[field])  # 1e-05 is one number
    import pydantic

    try:
        return kind(**fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or name
        raise UsageError(
            f"{what} '{name}': {place} = {first['input']!r} does not fit",
            hint=_remedy(first["type"], first["msg"]),
        ) from None


def _remedy(kind: str, message: str) -> str:
    """Return what to pass instead, for a type of error of pydantic and its message."""
    if kind in ("float_parsing", "float_type", "int_parsing", "int_type", "int_from_float", "finite_number"):
        return "pass a whole number" if kind.startswith("int") else "pass a number"
    if kind in ("bool_parsing", "bool_type"):
        return "pass true or false"
    return f"{message[:1].lower()}{message[1:]}"


def split_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the fields of a shell form, each value as text; or of a JSON form.

    Raises:
        UsageError: a part of it is not field=value, or it is no JSON.
    """
    if spec.startswith("{"):
        try:
            return _pop_name(parse_json(spec))
        except (ValueError, TypeError):
            raise UsageError(f"cannot read '{spec[:80]}'", hint="write NAME:field=value,field=value, or JSON") from None
    name, _, rest = spec.partition(":")
    fields: dict[str, str] = {}
    for item in filter(None, rest.split(",")):
        field, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"cannot read '{item}' in '{spec}'", hint="write NAME:field=value,field=value")
        fields[field.strip().replace("-", "_")] = value.strip()
    return name.strip(), fields


def _pop_name(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    fields = dict(spec)
    return str(fields.pop("name", "")), fields
