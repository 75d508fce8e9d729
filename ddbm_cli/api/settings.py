"""Samplers and grids as callers give them, in the form of the command line."""

from collections.abc import Mapping
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.samplers import ALIASES, GRIDS, SAMPLERS, Sampler, TimeGrid

SamplerLike = str | Mapping[str, Any] | Sampler
GridLike = str | Mapping[str, Any] | TimeGrid


def spelled(setting: Any, kinds: Mapping[str, type[Any]] = SAMPLERS) -> str | None:
    """Return a sampler or grid as on the command line."""
    if setting is None or isinstance(setting, str):
        return setting
    if isinstance(setting, Mapping) and setting.get("name") in ALIASES:
        raise UsageError(f"'{setting['name']}' is not a registry name", hint="write it as text: " + setting["name"])
    if not isinstance(setting, Mapping | Sampler | TimeGrid):
        what = "sampler" if kinds is SAMPLERS else "grid"
        raise UsageError(
            f"{type(setting).__name__} is not a {what}", hint=f"pass a name, a mapping or an object of class {what}"
        )
    return spell(build(kinds, setting, what="sampler" if kinds is SAMPLERS else "grid"))


def with_spelled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with their sampler and grid as on the command line."""
    given = dict(options)
    for name, kinds in (("sampler", SAMPLERS), ("grid", GRIDS)):
        if given.get(name) is not None:
            given[name] = spelled(given[name], kinds)
    return given
