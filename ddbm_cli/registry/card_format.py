"""Versions of the model card: `upgrade` turns the plain values of any earlier version into the current one.

Format 1 (ddbm 0.x) had no field for what a model is: a prior was a card whose network got no source and whose path or
sampling started from noise. Format 2 states it, and what the source looks like, and
renames five fields.

To add a format: increase FORMAT, and append a function to UPGRADES that turns the previous format into the new one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ddbm_cli.foundation.renamed import current

FORMAT = 2
"""The current version. A card with a higher one was written by a later release."""

OLDEST = 1
"""The version of a card that does not state one."""

RENAMED = {
    "sees_source": "concat_source",
    "fills_holes": "inpainting",
    "classes": "class_names",
    "drop": "condition_dropout",
}
"""Fields of format 1 and their names in format 2."""

SKETCHES = ("sketch", "sketches", "edges", "line art")
"""Sources of format 1, as in the card's task, that are line art."""

SOURCE_FREE = ("ve", "vp", "cosine", "ddpm")
"""Paths of format 1 that end in noise instead of the source image."""


def upgrade(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card's plain values in the current format. Values of wrong types are kept for the card's own checks.

    Raises:
        ValueError: the format is not a whole number from 1 to FORMAT.
    """
    version = body.get("format", OLDEST)
    if type(version) is not int or not OLDEST <= version <= FORMAT:
        raise ValueError(f"format {version!r:.40}")
    upgraded = dict(body)
    for step in UPGRADES[version - OLDEST :]:
        upgraded = step(upgraded)
    if isinstance(upgraded.get("defaults"), Mapping):
        upgraded["defaults"] = {name: current(value) for name, value in upgraded["defaults"].items()}
    return {name: current(value) for name, value in upgraded.items()} | {"format": FORMAT}


def _from_1(body: dict[str, Any]) -> dict[str, Any]:
    upgraded = {RENAMED.get(name, name): value for name, value in body.items()}
    blind = upgraded.get("concat_source", True) is False
    from_noise = _name_of(body, "path") in SOURCE_FREE or _name_of(body.get("defaults"), "start") == "prior"
    kind = "prior" if blind and from_noise else "bridge"
    expects = {"expects": {"kind": "line-art"}} if kind == "bridge" and _is_sketch(body.get("task")) else {}
    return expects | upgraded | {"kind": kind}


def _is_sketch(task: Any) -> bool:
    """Return whether a model of format 1 translates drawings, such as "sketch -> 3D picture"."""
    return isinstance(task, str) and task.partition("->")[0].strip().lower() in SKETCHES


def _name_of(body: Any, part: str) -> Any:
    setting = body.get(part) if isinstance(body, Mapping) else None
    name = setting.get("name") if isinstance(setting, Mapping) else None
    return name if isinstance(name, str) else None


UPGRADES: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_1,)
