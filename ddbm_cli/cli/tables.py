"""Models as a table, and one model in words."""

import sys
from typing import TYPE_CHECKING, Any

import typer

from ddbm_cli.cli.console import emit
from ddbm_cli.cli.downloads import human
from ddbm_cli.cli.help import heading
from ddbm_cli.registry.locate import at_a_glance

if TYPE_CHECKING:
    from ddbm_cli.registry import Entry

COLUMNS = ("NAME", "TASK", "SIZE", "TYPE", "CACHED", "LICENCE", "SOURCE")
GAP = 2


def models(entries: "list[Entry]", *, json: bool) -> None:
    """Show the registry: a table on a terminal, aligned text in a pipe, or a record a line."""
    if json:
        for entry in entries:
            emit(_record(entry))
        return
    rows = [_row(entry) for entry in entries]
    if sys.stdout.isatty():
        _rich(rows)
        return
    widths = [max(len(row[column]) for row in [COLUMNS, *rows]) for column in range(len(COLUMNS))]
    for row in [COLUMNS, *rows]:
        cells = (cell.ljust(width + GAP) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("".join(cells).rstrip() + "\n")


def model(entry: "Entry", *, json: bool) -> None:
    """Show all facts of a model."""
    if json:
        emit(_record(entry) | {"card": entry.facts()})
        return
    for name, text in _words(entry).items():
        typer.echo(f"{heading(f'{name:<10}')}  {text}")


def _row(entry: "Entry") -> tuple[str, ...]:
    card = entry.facts()
    side, kind = card.get("preprocess", {}).get("size"), card.get("path", {}).get("name", "-")
    cached = at_a_glance(entry) or "-"
    return entry.name, entry.task, f"{side} px" if side else "-", kind, cached, entry.licence, entry.source


def _record(entry: "Entry") -> dict[str, Any]:
    card = entry.facts()
    return {
        "name": entry.name,
        "task": entry.task,
        "pixels": card.get("preprocess", {}).get("size"),
        "type": card.get("path", {}).get("name"),
        "cached": at_a_glance(entry) or False,
        "licence": entry.licence,
        "licence_source": entry.licence_source,
        "source": str(entry.hub_file) if entry.repo else entry.url or "built-in",
        "revision": entry.revision if entry.repo else None,
        "bytes": entry.size,
        "sha256": entry.sha256 or None,
        "parameters": entry.parameters,
        "note": entry.note,
        "registry": entry.origin,
    }


def _words(entry: "Entry") -> dict[str, str]:
    card = entry.facts()
    words = {"Name": entry.name, "Task": entry.task}
    words["Data"] = card.get("data", "not stated")
    words["Limits"] = card.get("limits", "not stated")
    size = card.get("preprocess", {}).get("size")
    if size:
        words["Pictures"] = f"{size}x{size} pixels: larger ones are brought to this, --keep-size enlarges the results"
    for name in ("network", "path", "prediction"):
        if card.get(name):
            words[name.title()] = _spelled(card[name])
    if entry.parameters:
        words["Network"] = f"{words.get('Network', '-')}; {entry.parameters / 1e6:.1f} M parameters"
    defaults = card.get("defaults", {})
    if defaults:
        sampler, grid, start = (_spelled(defaults.get(part, {})) for part in ("sampler", "grid", "start"))
        words["Sampling"] = f"{sampler}, grid {grid}, start {start}, {defaults.get('steps')} steps"
    if card.get("training"):
        words["Training"] = _plain(card["training"])
    if card.get("scores"):
        words["Scores"] = _plain(card["scores"])
    words["Licence"] = entry.licence + (f" ({entry.licence_source})" if entry.licence_source else "")
    words["Source"] = (
        f"{entry.repo}, revision {entry.revision}, {entry.file}" if entry.repo else entry.url or entry.source
    )
    words["Digest"] = f"sha256 {entry.sha256}" if entry.sha256 else "none published: the first download is recorded"
    if entry.note:
        words["Unchecked"] = entry.note
    words["Here"] = _here(entry)
    words["Registry"] = str(entry.origin)
    is_prior = card.get("kind") == "prior"
    file = entry.name if entry.repo or entry.builtin else "THE.safetensors"
    asked = " --class 0" if card.get("network", {}).get("classes") and not is_prior else ""
    asked += " --mask MASK" if card.get("inpainting") else ""
    words["Use"] = f"ddbm {'sample -o FOLDER' if is_prior else 'translate INPUT OUTPUT'} -m {file}{asked}"
    return words


def _here(entry: "Entry") -> str:
    if entry.builtin:
        return str(entry.builtin_file)
    if not entry.repo:
        return f"on no hub: download it, and: ddbm weights import {entry.file} --like {entry.name}"
    glance = at_a_glance(entry)
    if glance:
        return {"yes": "yes", "to convert": "downloaded, to be converted at first use"}[glance]
    size = f"{'' if entry.size else 'about '}{human(entry.about_bytes)}" if entry.about_bytes else "it"
    after = " and convert it once, to as much again" if entry.importer else ""
    return f"no: ddbm weights pull {entry.name} would fetch {size}{after}"


def _spelled(setting: dict[str, Any]) -> str:
    """Return a setting's JSON form as the shell's, which the card's classes could not write without torch."""
    fields = [f"{key}={_value(value)}" for key, value in setting.items() if key != "name" and value is not None]
    return f"{setting.get('name', '-')}{':' if fields else ''}{','.join(fields)}"


def _value(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(facts: Any) -> str:
    if isinstance(facts, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in facts.items())
    return f"{facts:.4g}" if isinstance(facts, float) else str(facts)


def _rich(rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, no_wrap=name == "NAME")
    for row in rows:
        table.add_row(*row)
    Console().print(table, markup=False)
