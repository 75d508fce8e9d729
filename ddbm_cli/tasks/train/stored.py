"""What is stored of runs and settings: a run's config.json, a TOML file of settings, and the names they used before."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.documents import read_json, read_toml
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import adapter
from ddbm_cli.options.train import TrainRequest

MAX_BYTES = 2**20
LATEST = "latest"
"""What stands for the newest run, as in diffusers' `--resume_from_checkpoint latest`."""

IMAGES = "images"
"""The key of config.json for the digest and the numbers of the data, next to the fields of the request."""

RENAMED = {"momentum": "beta1", "decay": "lr_decay_fraction"}
"""Fields of the recipe: name before release 0.2 -> name."""

CONFIG = "config.json"
A_RUN = "pass the folder of a run, the -o of its ddbm train"


def read_stored(run: Path) -> dict[str, Any]:
    """Return the request that a run's folder holds, under current names and with absolute paths of its data.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    file = run / CONFIG
    if not run.is_dir():
        raise UsageError(f"{run}: no such run folder", hint=A_RUN)
    body = current(_table(read_json(file, hint=A_RUN, limit=MAX_BYTES), file), file)
    images = body.setdefault(IMAGES, None)
    data = body.get("data")
    if not isinstance(data, list) or not data or not all(isinstance(path, str) for path in data):
        raise UsageError(f"{file}: 'data' is not a list of folders", hint="restore the file from a backup")
    if not isinstance(images, dict | None):
        raise UsageError(f"{file}: '{IMAGES}' is not a table", hint="restore the file from a backup")
    if images is None:
        del body[IMAGES]
    body["data"] = [str(_located(Path(path), run, Path(str(body.get("output", ""))))) for path in data]
    return body


def read_settings(file: Path) -> dict[str, Any]:
    """Return the settings in a TOML file under current names.

    Raises:
        UsageError: the file is missing or not readable.
    """
    return current(read_toml(file, hint="pass a TOML file of settings", limit=MAX_BYTES), file)


def settings_of(request: TrainRequest) -> str:
    """Return the settings of a request, without its data and folders, as the text of a TOML file."""
    body = adapter(TrainRequest).dump_python(
        request, mode="json", exclude={"data", "output", "resume", "device", "check", "from_step"}
    )
    tables = {name: value for name, value in body.items() if isinstance(value, dict)}
    blocks = [{name: value for name, value in body.items() if name not in tables}, *tables.values()]
    texts = ["".join(f"{name} = {json.dumps(v)}\n" for name, v in block.items() if v is not None) for block in blocks]
    headed = [f"[{name}]\n{text}" for name, text in zip(tables, texts[1:], strict=True) if text]
    return "\n".join([texts[0], *headed]).rstrip()


def current(body: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return settings under their current names.

    Raises:
        UsageError: a table is something else, or a field has both its old and its current name.
    """
    for table in ("recipe", "compute", "sampling"):
        if not isinstance(body.get(table, {}), dict):
            raise UsageError(f"{file}: '{table}' is not a table", hint=f"write [{table}], and its fields below it")
    recipe: dict[str, Any] = {}
    for name, value in body.get("recipe", {}).items():
        if RENAMED.get(name, name) in recipe:
            raise UsageError(f"{file}: '{name}' is set twice", hint=f"keep {RENAMED.get(name, name)} alone")
        recipe[RENAMED.get(name, name)] = value
    return with_task({**body, "recipe": recipe} if recipe else body)


def with_task(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with their task; formerly that was the text of `translates`, and stood beside a kind."""
    body = dict(settings)
    text, kind = body.get("task"), body.pop("kind", None)
    if isinstance(text, str) and "->" in text:
        body = {"translates": body.pop("task"), **body}
        kind = kind or ("prior" if text.startswith("->") else None)
    return body | ({"task": kind} if kind else {})


def newest(below: Path) -> Path:
    """Return the run in or below a folder that was saved or begun last.

    Raises:
        UsageError: there is none.
    """
    runs = [file.parent for part in (".", "*", "*/*", "*/*/*") for file in below.glob(f"{part}/{CONFIG}")]
    runs = [run for run in runs if _is_run(run)]
    if not runs:
        raise UsageError(f"no run to resume in {below.absolute()}", hint="pass its folder: ddbm train --resume RUN")
    return max(runs, key=_written)


def _is_run(folder: Path) -> bool:
    try:
        return "recipe" in read_stored(folder)
    except UsageError:
        return False


def _written(run: Path) -> float:
    return max(file.stat().st_mtime for file in (run / CONFIG, run / "state.safetensors") if file.exists())


def _located(data: Path, run: Path, output: Path) -> Path:
    """Return the absolute path of stored data; releases before 0.2 stored it relative to the working folder of then."""
    if data.is_absolute():
        return data
    here = run.absolute()
    if not output.is_absolute() and output.parts and here.parts[-len(output.parts) :] == output.parts:
        return here.parents[len(output.parts) - 1] / data  # the folder that the run's own path was relative to
    return data.absolute()


def _table(body: Any, file: Path) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise UsageError(f"{file}: not a table of settings", hint=A_RUN)
    return body
