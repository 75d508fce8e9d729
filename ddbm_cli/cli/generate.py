"""What is generated from the code: the table of names, and the manual's pages of options.

python -m ddbm_cli.cli.generate            write them
python -m ddbm_cli.cli.generate --check    exit with 1 if one is not up to date
"""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from ddbm_cli.cli import schema
from ddbm_cli.cli.main import build
from ddbm_cli.cli.manual import FOLDER
from ddbm_cli.foundation.settings import adapter
from ddbm_cli.options.names import FILE, SINGULAR


def names_table() -> dict[str, dict[str, Any]]:
    """Return the names of all registries, each with a description and the schemas of its fields."""
    from ddbm_cli.codecs.colour import COLOUR_SPACES
    from ddbm_cli.denoisers import PERTURBATIONS, PREDICTIONS
    from ddbm_cli.imaging.io import FORMATS
    from ddbm_cli.metrics import METRICS
    from ddbm_cli.networks import NETWORKS
    from ddbm_cli.objectives import METHODS, OBJECTIVES, TIME_DISTRIBUTIONS
    from ddbm_cli.paths import PATHS
    from ddbm_cli.samplers import ALIASES, GRIDS, SAMPLERS
    from ddbm_cli.training.first_couplings import COUPLINGS

    registries: dict[str, Mapping[str, type[Any]]] = {
        "samplers": SAMPLERS,
        "grids": GRIDS,
        "paths": PATHS,
        "predictions": PREDICTIONS,
        "networks": NETWORKS,
        "times": TIME_DISTRIBUTIONS,
        "objectives": OBJECTIVES,
        "methods": METHODS,
        "couplings": COUPLINGS,
        "metrics": METRICS,
        "perturbations": PERTURBATIONS,
        "colour_spaces": COLOUR_SPACES,
    }
    table = {kind: {name: _entry(each) for name, each in kinds.items()} for kind, kinds in registries.items()}
    table["formats"] = {name: {"description": f"{label} image."} for name, label in FORMATS.items()}
    return table | {"aliases": {"samplers": dict(ALIASES)}}


def _entry(kind: type[Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"description": (inspect.getdoc(kind) or "").partition("\n")[0]}
    if dataclasses.is_dataclass(kind):
        schemas = adapter(kind).json_schema().get("properties", {})
        fields = {
            name: {key: each for key, each in schema.items() if key != "title"} for name, schema in schemas.items()
        }
        entry |= {"fields": fields} if fields else {}
    return entry


def reference() -> str:
    """Return the page of all commands, with their options."""
    lines = ["# Command-line reference", "", "Generated from the code by `python -m ddbm_cli.cli.generate`.", ""]
    for words, command in _commands(typer.main.get_command(build())):
        lines += [f"## ddbm {' '.join(words)}", "", *_description(command.help or ""), ""]
        context = command.context_class(command, info_name=" ".join(("ddbm", *words)))
        panel = ""
        for parameter in command.get_params(context):
            if getattr(parameter, "hidden", False) or parameter.name == "help":
                continue
            section = getattr(parameter, "rich_help_panel", None) or ""
            if section and section != panel:
                panel = section
                lines += ["", f"**{section}**", ""]
            lines.append(f"- `{_spelling(parameter)}`: {parameter.help}")
        lines.append("")
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _description(text: str) -> list[str]:
    """Return a docstring as Markdown: what follows a line with \\b is preformatted."""
    found: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith("\b"):
            head, *rest = block.removeprefix("\b\n").split("\n")
            if head.endswith(":"):
                found += [head, "", "```", *(line.removeprefix("  ") for line in rest), "```", ""]
            else:
                found += [" ".join([head, *rest]), ""]
        else:
            found += [" ".join(block.split()), ""]
    return found


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name)
    flags = ", ".join(parameter.opts)
    return flags if parameter.is_flag else f"{flags} {parameter.metavar or 'TEXT'}"


def names_page() -> str:
    """Return the page of all names that options take, with their fields."""
    lines = ["# Names: samplers, grids, paths, predictions, metrics and others", ""]
    lines += ["Generated from the code by `python -m ddbm_cli.cli.generate`. Write settings as NAME:FIELD=VALUE.", ""]
    table = names_table()
    aliases = table.pop("aliases")
    for kind, entries in table.items():
        lines += [f"## {kind.capitalize()}", ""]
        for name, entry in entries.items():
            fields = ", ".join(f"`{field}`{_default(each)}" for field, each in entry.get("fields", {}).items())
            lines.append(f"- `{name}`: {entry['description']}{f' Fields: {fields}.' if fields else ''}")
        for name, spec in aliases.get(kind, {}).items():
            lines.append(f"- `{name}`: short for `{spec}`.")
        lines.append("")
    assert set(table) <= set(SINGULAR)
    return "\n".join(lines).rstrip() + "\n"


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    if default is None:
        return ""
    return f" = {'-'.join(map(str, default)) if isinstance(default, list) else default}"


def generated() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with what it should hold."""
    yield FILE, json.dumps(names_table(), indent=1) + "\n"
    yield FOLDER / "reference.md", reference()
    yield FOLDER / "names.md", names_page()
    yield schema.FILE, json.dumps(schema.schema(), indent=1) + "\n"
    yield schema.MANUAL, schema.manual()


def main() -> None:
    """Write the generated files, or with --check compare them."""
    check = "--check" in sys.argv[1:]
    old = [file for file, text in generated() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file, text in generated():
        if file in old and not check:
            file.write_text(text, encoding="utf-8")
    for file in old:
        sys.stdout.write(f"{'not up to date' if check else 'written'}: {file}\n")
    if FILE in old and not check:  # the options, which `reference` describes, were made with the names before
        sys.stdout.flush()
        sys.exit(subprocess.run([sys.executable, "-m", "ddbm_cli.cli.generate"], check=False).returncode)
    sys.exit(int(check and bool(old)))


if __name__ == "__main__":
    main()
