"""Help pages that start fast: plain sections, one for each panel of options.

Typer's own pages draw boxes with rich, whose import takes longer than all else that `--help` does.
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
        if record:
            default = "Arguments" if param.param_type_name == "argument" else "Options"
            sections.setdefault(getattr(param, "rich_help_panel", None) or default, []).append(record)
    widest = min(WIDEST, max((len(name) for rows in sections.values() for name, _ in rows), default=0))
    for name, rows in sections.items():
        with formatter.section(heading(name)):
            formatter.write_dl([(left.ljust(widest), right) for left, right in rows], col_max=WIDEST)


def heading(text: str) -> str:
    """Return a heading, bold where colours are wanted."""
    return text if "NO_COLOR" in os.environ else typer.style(text, bold=True)


class Command(TyperCommand):
    """A command whose help has sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _sections(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands whose help has sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _sections(self, ctx, formatter)
