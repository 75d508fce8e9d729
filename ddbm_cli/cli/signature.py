"""Typer signatures derived from declared options: one parameter per field, and its help with default, range, choices.

Every value comes as the text that was written, and is checked by `options.check`, so that all commands explain a wrong
value alike; Typer's own checks, which import pydantic, are not used.
"""

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from ddbm_cli.cli.completion import completer
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import Declared, declared


def takes(*kinds: type[Any], panels: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options that settings classes declare.

    The command is called with one mapping for each class, which holds what was given: the class's fields by name,
    those of a table as a mapping of their own.

    Args:
        kinds: settings classes.
        panels: the order of sections in help.
    """

    return lambda function: _Command(function, kinds, panels)


class _Command:
    """A command whose parameters are made when they are read, so that a group starts as fast as one command."""

    def __init__(self, function: Callable[..., Any], kinds: tuple[type[Any], ...], panels: tuple[str, ...]) -> None:
        self._function, self._kinds, self._panels = function, kinds, panels
        self.__name__, self.__doc__, self.__module__ = function.__name__, function.__doc__, function.__module__

    def __call__(self, **given: Any) -> Any:
        return self._function(*(_given(kind, given) for kind in self._kinds))

    @cached_property
    def _made(self) -> Signature:
        parameters = [
            each for kind in self._kinds for option in declared(kind).values() for each in _parameters(option)
        ]
        # Arguments come first, in their order; sections in the order of the panels.
        order = {panel: place for place, panel in enumerate(self._panels)}
        return Signature(sorted(parameters, key=lambda each: order.get(_panel(each), -1)))

    @property
    def __signature__(self) -> Signature:
        return self._made

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {name: each.annotation for name, each in self._made.parameters.items()}


def _panel(parameter: Parameter) -> str:
    return parameter.annotation.__metadata__[0].rich_help_panel or ""


def _parameters(option: Declared) -> list[Parameter]:
    """Return an option's parameter, and a hidden one for its aliases."""
    field = option.field
    kind = bool if option.kind is bool else str
    annotation: Any = (list[str] if option.many and field.repeat else kind) | None
    default: Any = Parameter.empty if option.required else None
    shared: dict[str, Any] = {"metavar": _metavar(option), "help": words(option), "show_default": False}
    shared["autocompletion"] = completer(option)
    if field.argument:
        info: Any = typer.Argument(**shared)
        return [Parameter(option.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, info])]
    shared |= {"hidden": field.hidden, "rich_help_panel": field.panel or None}
    if kind is bool:
        shared.pop("metavar"), shared.pop("autocompletion")
    first = Annotated[annotation, typer.Option(*option.flags, **shared)]
    found = [Parameter(_python(option.name), Parameter.KEYWORD_ONLY, default=default, annotation=first)]
    if field.aliases:
        alias = Annotated[annotation, typer.Option(*field.aliases, **shared | {"hidden": True})]
        name = f"{_python(option.name)}_alias"
        found.append(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=alias))
        if option.required:
            found[0] = found[0].replace(default=None)
    return found


def _python(name: str) -> str:
    return name.replace(".", "__")


def _given(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given of a class's fields; options that were left out are not in it."""
    from ddbm_cli.options.check import read

    found: dict[str, Any] = {}
    for name, option in declared(kind).items():
        value = values.get(_python(name))
        other = values.get(f"{_python(name)}_alias")
        if value is not None and other is not None:
            raise UsageError(
                f"{option.flag} and {option.field.aliases[0]} are the same option", hint="pass one of them"
            )
        value = other if value is None else value
        if value in (None, [], ()):
            continue
        table, _, inner = name.rpartition(".")
        place = found.setdefault(table, {}) if table else found
        place[inner] = tuple(value) if isinstance(value, list) else value if value is True else read(option, value)
        if place[inner] is None:
            del place[inner]
    return found


def _metavar(option: Declared) -> str:
    if option.field.metavar:
        return option.field.metavar
    return {int: "N", float: "X", Path: "PATH"}.get(option.kind, "TEXT")


def words(option: Declared) -> str:
    """Return the help of an option: its description, then default, range, choices and what it excludes."""
    notes = [*_choices(option)]
    if option.field.range:
        notes.append(f"range: {option.field.range}")
    if option.field.excludes:
        others = ", ".join(f"--{name.replace('_', '-')}" for name in option.field.excludes)
        notes.append(f"mutually exclusive with {others}")
    default = _default(option)
    if default:
        notes.append(f"default: {default}")
    return " ".join([option.field.description, *(f"[{note}]" for note in notes)])


def _choices(option: Declared) -> list[str]:
    known = list(option.choices)
    if option.field.names:
        from ddbm_cli.options.names import aliases, names

        known = [*names(option.field.names), *aliases(option.field.names)]
    if option.field.none:
        known.append(option.field.none)
    return [f"choices: {', '.join(known)}"] if known else []


def _default(option: Declared) -> str:
    default = option.default
    if option.required or option.kind is bool:
        return ""
    if default is None or default in ((), ""):
        return option.field.unset if option.field.unset != "none" else ""
    if isinstance(default, tuple):
        return (" " if option.field.repeat else ",").join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def shard() -> tuple[int, int]:
    """Return which process this is, and of how many, as torchrun sets RANK and WORLD_SIZE; (0, 1) alone.

    Raises:
        UsageError: they do not fit together.
    """
    rank, size = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if rank.isdecimal() and size.isdecimal() and int(rank) < int(size):
        return int(rank), int(size)
    raise UsageError(
        f"RANK={rank} and WORLD_SIZE={size} do not name a process of a group",
        hint="unset both, or start the command with torchrun --nproc-per-node 2 -m ddbm_cli ...",
    )
