"""`ddbm show`: the card of a model file, and the record in an image."""

from collections.abc import Mapping
from typing import Any

from ddbm_cli.cli import early, signature, terminal
from ddbm_cli.foundation.event_lines import as_record
from ddbm_cli.foundation.events import Shown
from ddbm_cli.options.check import from_options
from ddbm_cli.options.groups import Records
from ddbm_cli.options.weights import ShowOptions

DEEPEST = 8
"""Largest depth of nested tables that is printed; records in files are not trusted."""


@signature.takes(ShowOptions, Records)
def show(given: Mapping[str, Any], printed: Mapping[str, Any]) -> None:
    """Print a model's card, or the settings that an image was made with.

    \b
    Examples:
      ddbm show runs/mine
      ddbm show pictures/fox.png
      ddbm show pictures/fox.png --command   the command that recreates it
    """
    asked = from_options(ShowOptions, given, command="show")
    early.shown(asked.file, command=asked.command)
    if asked.command:
        from ddbm_cli.tasks.recreate import recreate

        found = recreate(asked.file, search=asked.search)
        for note in found.notes:
            terminal.fact("Note", note)
        terminal.out(found.command)
        return
    from ddbm_cli.tasks import show as task

    facts = task.show(asked.file)
    if printed.get("json"):
        terminal.emit(as_record(Shown(facts=facts)))
        return
    _write(facts)


def _write(facts: dict[str, Any], indent: str = "", depth: int = 0) -> None:
    """Write facts as an aligned list; a table within has lines of its own, but a setting stays on one line."""
    width = max((len(f"{indent}{name}") for name in facts), default=0)
    for name, value in facts.items():
        label = f"{indent}{str(name).replace('_', ' ')}"
        if isinstance(value, dict) and "name" not in value and value and depth < DEEPEST:
            terminal.pair(label, "", width=width)
            _write(value, indent + "  ", depth + 1)
        elif value not in ({}, [], "", None):
            terminal.pair(label, _words(value), width=width)


def _words(value: Any, depth: int = 0) -> str:
    if depth > DEEPEST:
        return "..."
    if isinstance(value, dict):
        named = ((key, each) for key, each in value.items() if key != "name" and each is not None)
        fields = ", ".join(f"{key} {_words(each, depth + 1)}" for key, each in named)
        return f"{value.get('name', '')} ({fields})" if fields else str(value.get("name", ""))
    if isinstance(value, list):
        return "-".join(_words(each, depth + 1) for each in value)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
