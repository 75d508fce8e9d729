"""Commands that start fast: their help is plain sections, and their texts are not checked.

Typer draws boxes with rich, and uses pydantic to check that a text is a text. Importing either takes longer than the
rest of `--help` or `weights list`.
"""

import os
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

WIDEST = 30
"""Columns for the names of options; longer ones get a line of their own."""


def _sections(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record and _is_argument(param):
            sections.setdefault("Arguments", []).append((_name(param), record[1]))
        elif record:
            sections.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(record)
    widest = min(WIDEST, max((len(name) for rows in sections.values() for name, _ in rows), default=0))
    for name, rows in sections.items():
        with formatter.section(heading(name)):
            formatter.write_dl([(left.ljust(widest), right) for left, right in rows], col_max=WIDEST)


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _name(argument: Any) -> str:
    """Return an argument's name in capitals, with ... if it can be repeated."""
    name = (argument.metavar or argument.name).strip("[]").removesuffix("...").upper()
    return f"{name}..." if argument.nargs == -1 else name


def heading(text: str) -> str:
    """Return a heading, bold where colours are wanted."""
    return text if "NO_COLOR" in os.environ else typer.style(text, bold=True)


class _AsItIs:
    """The interface of a parameter's type in Typer, for texts and flags, which need no conversion."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        return value


def _kind(param: Any) -> Any:
    return getattr(getattr(param, "type_descriptor", None), "annotation", None)


def _unchecked(command: Any, ctx: Any) -> None:
    for param in command.get_params(ctx):
        if param.nargs == 1 and not param.multiple and _kind(param) in (str, bool):
            param._runtime_param = _AsItIs()  # a Typer without this attribute validates as usual


ALONE = {"--resume": "latest"}
"""Options whose value may be left out, and the value that is then used."""


def _completed(args: list[str]) -> list[str]:
    """Insert the value of options in ALONE where it was left out: at the end, or before another option."""
    full: list[str] = []
    for place, arg in enumerate(args):
        alone = arg in ALONE and (place + 1 == len(args) or args[place + 1].startswith("-"))
        full += [arg, ALONE[arg]] if alone else [arg]
    return full


class Command(TyperCommand):
    """A command that starts fast."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line without the checks that import pydantic."""
        _unchecked(self, ctx)
        return super().parse_args(ctx, _completed(args))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line: options, then arguments as manuals write them."""
        arguments = [param for param in self.get_params(ctx) if _is_argument(param)]
        return ["[OPTIONS]", *(_name(each) if each.required else f"[{_name(each)}]" for each in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and options."""
        _sections(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands that starts fast."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line without the checks that import pydantic."""
        _unchecked(self, ctx)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the first lines of all commands' help, none of them cut."""
        rows = [(name, (command.help or "").partition("\n")[0]) for name, command in self.commands.items()]
        with formatter.section(heading("Commands")):
            formatter.write_dl(rows)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _sections(self, ctx, formatter)
