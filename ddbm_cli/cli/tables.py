"""Models as a table, and one model in words."""

from typing import TYPE_CHECKING, Any

from ddbm_cli.cli import columns, terminal
from ddbm_cli.cli.bars import human
from ddbm_cli.foundation.event_lines import as_record
from ddbm_cli.foundation.events import Listed
from ddbm_cli.options.coding import CODER
from ddbm_cli.registry.locate import at_a_glance

if TYPE_CHECKING:
    from ddbm_cli.registry import Entry

HEADER = ("NAME", "TASK", "PIXELS", "STATUS", "LICENCE", "PATH", "SOURCE")
TASK, PIXELS = HEADER.index("TASK"), HEADER.index("PIXELS")
OPTIONAL = tuple(HEADER.index(name) for name in ("LICENCE", "PATH", "SOURCE"))
"""Columns that a narrow terminal lacks; `weights info` has them all."""


def models(entries: "list[Entry]", *, json: bool) -> None:
    """Write the registry: a table, or one JSON line for each model."""
    if json:
        for entry in entries:
            terminal.emit(as_record(Listed(facts=_record(entry))))
        return
    columns.show([HEADER, *map(_row, entries)], wrapped=TASK, right=[PIXELS], optional=OPTIONAL)


def model(entry: "Entry", *, json: bool) -> None:
    """Write all facts of a model."""
    if json:
        terminal.emit(as_record(Listed(facts=_record(entry) | {"card": entry.facts()})))
        return
    for name, text in _words(entry).items():
        for number, line in enumerate([text] if isinstance(text, str) else text):
            terminal.pair("" if number else name, line, width=10)


def _row(entry: "Entry") -> tuple[str, ...]:
    card = entry.facts()
    side, kind = card.get("preprocess", {}).get("size"), card.get("path", {}).get("name", "-")
    return entry.name, entry.task, str(side or "-"), _status(entry), entry.licence, kind, entry.source


def _status(entry: "Entry") -> str:
    if entry.builtin:
        return "default" if entry.is_default else "built in"
    if not entry.repo:
        return "by hand"
    return "downloaded" if at_a_glance(entry) else "-"


def _record(entry: "Entry") -> dict[str, Any]:
    card = entry.facts()
    return {
        "name": entry.name,
        "task": entry.task,
        "pixels": card.get("preprocess", {}).get("size"),
        "type": card.get("path", {}).get("name"),
        "cached": at_a_glance(entry) or False,
        "default": entry.is_default,
        "licence": entry.licence,
        "licence_source": entry.licence_source,
        "source": str(entry.path or (entry.hub_file if entry.repo else entry.url or "built-in")),
        "revision": entry.revision if entry.repo else None,
        "bytes": entry.size,
        "sha256": entry.sha256 or None,
        "parameters": entry.parameters,
        "note": entry.note,
        "registry": None if entry.path else entry.origin,
    }


def _words(entry: "Entry") -> dict[str, str | list[str]]:
    """Return the facts of a model, each in words, or in several lines of words."""
    card = entry.facts()
    words: dict[str, str | list[str]] = {"Name": entry.name, "Task": entry.task}
    words["Data"] = card.get("data", "not stated")
    words["Limits"] = card.get("limits", "not stated")
    size = card.get("preprocess", {}).get("size")
    names = [str(name) for name in card.get("class_names", ())]
    may_lack_class = bool(card.get("condition_dropout"))
    if names:
        words["Classes"] = ", ".join(names) + ("; --class may be left out" if may_lack_class else "")
    if card.get("directions"):
        words["Directions"] = ", ".join(card["directions"])
    if encoder := card.get("text_encoder"):
        words["Texts"] = f"{encoder['reference']}, at most {encoder['length']} tokens; not a part of the file"
    if size:
        words["Images"] = f"{size}x{size} pixels; inputs are resized, --keep-size restores their size"
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
        words["Scores"] = _grouped(card["scores"])
    words["Licence"] = entry.licence + (f" ({entry.licence_source})" if entry.licence_source else "")
    words["Source"] = (
        f"{entry.repo}, revision {entry.revision}, {entry.file}" if entry.repo else entry.url or entry.source
    )
    words["Digest"] = f"sha256 {entry.sha256}" if entry.sha256 else "none published: the first download is recorded"
    if entry.note:
        words["Note"] = entry.note
    words["On disk"] = _on_disk(entry)
    if not entry.path:
        words["Registry"] = str(entry.origin)
    is_prior = card.get("kind") == "prior"
    file = entry.path or (entry.name if entry.repo or entry.builtin else "THE.safetensors")
    directions = card.get("directions", ())
    needs_class = card.get("network", {}).get("classes") and not (is_prior or may_lack_class or directions)
    asked = f" --class {names[0] if names else 0}" if needs_class else ""
    asked += f" --direction {directions[0]}" if directions else ""
    asked += ' --prompt "TEXT"' if card.get("text_conditional") else ""
    asked += " --mask MASK" if card.get("inpainting") else ""
    if card.get("network", {}).get("name") == CODER:
        words["Use"] = f"ddbm train PAIRS --codec {file} -o RUN"
    else:
        words["Use"] = f"ddbm {'sample -o FOLDER' if is_prior else 'translate INPUT OUTPUT'} -m {file}{asked}"
    return words


def _on_disk(entry: "Entry") -> str:
    if entry.path:
        return str(entry.path)
    if entry.builtin:
        return str(entry.builtin_file)
    if not entry.repo:
        return f"no: download it by hand, then run: ddbm weights import {entry.file} --like {entry.name}"
    glance = at_a_glance(entry)
    if glance:
        return {"yes": "yes", "to convert": "downloaded; converted at first use"}[glance]
    size = f"{'' if entry.size else 'about '}{human(entry.about_bytes)}" if entry.about_bytes else "it"
    after = " and converts it once, to a file of the same size" if entry.importer else ""
    return f"no: ddbm weights pull {entry.name} downloads {size}{after}"


def _spelled(setting: dict[str, Any]) -> str:
    """Return a setting's JSON form as the shell's, which the card's classes could not write without torch."""
    fields = [f"{key}={_value(value)}" for key, value in setting.items() if key != "name" and value is not None]
    return f"{setting.get('name', '-')}{':' if fields else ''}{','.join(fields)}"


def _value(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _grouped(facts: Any, name: str = "") -> list[str]:
    """Return nested facts with a line for each group, which begins with the names that lead to it."""
    if not isinstance(facts, dict):
        return [_plain(facts)]
    single = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    lines = [f"{name}: {_plain(single)}" if name else _plain(single)] if single else []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += _grouped(value, f"{name} {key.replace('_', ' ')}".strip())
    return lines


def _plain(facts: Any) -> str:
    if isinstance(facts, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in facts.items())
    return f"{facts:.4g}" if isinstance(facts, float) else str(facts)
