"""What is generated from the code: the table of names, and the manual's pages of options.

python -m ddbm_cli.cli.generate            write them
python -m ddbm_cli.cli.generate --check    exit with 1 if one is not up to date
"""

import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.settings import adapter
from ddbm_cli.options.names import FILE


def names_table() -> dict[str, dict[str, Any]]:
    """Return the names of all registries, each with a description and the schemas of its fields."""
    from ddbm_cli.denoisers import PREDICTIONS
    from ddbm_cli.imaging.io import FORMATS
    from ddbm_cli.metrics import METRICS
    from ddbm_cli.networks import NETWORKS
    from ddbm_cli.objectives import OBJECTIVES, TIME_DISTRIBUTIONS
    from ddbm_cli.paths import PATHS
    from ddbm_cli.samplers import ALIASES, GRIDS, SAMPLERS

    registries: dict[str, Mapping[str, type[Any]]] = {
        "samplers": SAMPLERS,
        "grids": GRIDS,
        "paths": PATHS,
        "predictions": PREDICTIONS,
        "networks": NETWORKS,
        "times": TIME_DISTRIBUTIONS,
        "objectives": OBJECTIVES,
        "metrics": METRICS,
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


def generated() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with what it should hold."""
    yield FILE, json.dumps(names_table(), indent=1) + "\n"


def main() -> None:
    """Write the generated files, or with --check compare them."""
    check = "--check" in sys.argv[1:]
    old = [file for file, text in generated() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file, text in generated():
        if file in old and not check:
            file.write_text(text, encoding="utf-8")
    for file in old:
        sys.stdout.write(f"{'not up to date' if check else 'written'}: {file}\n")
    sys.exit(int(check and bool(old)))


if __name__ == "__main__":
    main()
