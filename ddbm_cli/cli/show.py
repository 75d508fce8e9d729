"""`ddbm show`: what a file says of itself."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ddbm_cli.cli import console


def show(
    file: Annotated[Path, typer.Argument(help="A model, or a picture that ddbm made.", show_default=False)],
    command: Annotated[bool, typer.Option("--command", help="Print the line that makes the picture again.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON record.")] = False,
) -> None:
    """Print a model's card, or the settings that a picture was made with.

    \b
    Examples:
      ddbm show runs/mine/model.safetensors
      ddbm show pictures/fox.png
      ddbm show pictures/fox.png --command               the line that makes it again
    """
    from ddbm_cli.tasks import show as task

    if command:
        sys.stdout.write(f"{task.command(file)}\n")
        return
    facts = task.show(file)
    if json:
        console.emit(facts)
        return
    for line in _lines(facts):
        sys.stdout.write(f"{line}\n")


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    """Return facts as an aligned list; a record within has lines of its own, but a setting stays on one."""
    width = max((len(name) for name in facts), default=0)
    lines: list[str] = []
    for name, value in facts.items():
        label = f"{indent}{name.replace('_', ' '):<{width}}"
        if isinstance(value, dict) and "name" not in value and value:
            lines += [label.rstrip(), *_lines(value, indent + "  ")]
        elif value not in ({}, None):
            lines.append(f"{label}  {_words(value)}")
    return lines


def _words(value: Any) -> str:
    if isinstance(value, dict):
        fields = ", ".join(f"{key} {_words(each)}" for key, each in value.items() if key != "name" and each is not None)
        return f"{value.get('name', '')} ({fields})" if fields else str(value.get("name", ""))
    if isinstance(value, list):
        return "-".join(_words(each) for each in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
