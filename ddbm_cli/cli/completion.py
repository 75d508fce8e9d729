"""What a shell completes: models, samplers, grids, paths, methods and other names, by the declarations of options.

`ddbm --install-completion` installs it. Nothing here imports torch. File names are left to the shell.
"""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.text import printable

Completer = Callable[[str], list[tuple[str, str]]]
"""Returns the words that a text may become, each with a description, "" for none."""

MODEL_OPTIONS = ("model", "source_model", "prior", "cycle", "start_from", "like")
MODEL_ARGUMENTS = ("name", "names", "model")
GUIDES = {"blur:sigma=": "a blurred image", "colour:": "a file or a folder of colours"}
SUFFIX = ".safetensors"
MOST = 500
"""Entries of a folder that are looked at."""


def completer(option: Any) -> Completer | None:
    """Return what completes the value of a declared option, None for file names and free text."""
    if option.name in (MODEL_ARGUMENTS if option.field.argument else MODEL_OPTIONS):
        return models
    if option.field.names:
        return _of_kind(option.field.names, many=option.many and not option.field.repeat)
    if option.choices:
        return _listed({choice: "" for choice in option.choices}, many=option.many and not option.field.repeat)
    if option.name == "methods":
        return _methods
    if option.name == "device":
        from ddbm_cli.cli.early import DEVICES

        return _listed({name: "" for name in DEVICES})
    if option.name == "guide":
        return _listed(GUIDES)
    return None


def models(incomplete: str) -> list[tuple[str, str]]:
    """Return models of the registry, then model files and folders on the disk."""
    from ddbm_cli.registry import read_registry

    try:
        known = {entry.name: entry.task for entry in read_registry().values()}
    except Exception:  # a registry file that cannot be read is explained when it is used
        known = {}
    return [*_fitting(known, incomplete), *((path, "") for path in _on_disk(incomplete))]


def _on_disk(incomplete: str) -> Iterator[str]:
    """Yield model files, and folders that may hold one, that begin with a text."""
    folder, _, start = incomplete.rpartition("/")
    places = [(folder, start)] if folder or incomplete.startswith("/") else [("", start), ("runs", "")]
    for place, begin in places:
        lead = f"{place}/" if place or incomplete.startswith("/") else ""
        if not folder and place and not lead.startswith(incomplete):
            continue
        try:
            with os.scandir(Path(lead or ".").expanduser()) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in islice(entries, MOST))
        except OSError:
            continue
        for name, is_folder in found:
            hidden = name.startswith(".") and not begin.startswith(".")
            if hidden or not name.startswith(begin) or printable(name) != name:
                continue
            if name.endswith(SUFFIX):
                yield lead + name
            elif is_folder and (lead or (Path(name) / f"model{SUFFIX}").exists()):
                yield f"{lead}{name}/"


def _of_kind(kind: str, *, many: bool) -> Completer:
    def complete(incomplete: str) -> list[tuple[str, str]]:
        from ddbm_cli.options.names import aliases, names

        return _listed({**names(kind), **aliases(kind)}, many=many)(incomplete)

    return complete


def _methods(incomplete: str) -> list[tuple[str, str]]:
    from ddbm_cli.methods import METHODS
    from ddbm_cli.options.names import aliases, names

    known = {"default": "as the model's card says", **names("samplers"), **aliases("samplers")}
    return _fitting(known | {name: method.summary for name, method in METHODS.items()}, incomplete)


def _listed(known: dict[str, str], *, many: bool = False) -> Completer:
    def complete(incomplete: str) -> list[tuple[str, str]]:
        done, comma, last = incomplete.rpartition(",") if many else ("", "", incomplete)
        return [(f"{done}{comma}{name}", words) for name, words in _fitting(known, last)]

    return complete


def _fitting(known: dict[str, str], incomplete: str) -> list[tuple[str, str]]:
    return [(name, words) for name, words in known.items() if name.startswith(incomplete) and printable(name) == name]
