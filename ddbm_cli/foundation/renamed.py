"""Old names of settings and of their fields, which model cards, records in outputs and shell forms may still use."""

from collections.abc import Mapping
from typing import Any

NAMES = {"listed": "timesteps"}
"""Old registry name -> name."""

FIELDS = {
    "heun": {"guidance": "doob_weight", "churn_guidance": "churn_doob_weight"},
    "euler": {"guidance": "doob_weight"},
    "euler-maruyama": {"guidance": "doob_weight"},
    "preconditioned": {"clock": "c_noise"},
}
"""Registry name -> old field -> field."""


def current_name(name: str) -> str:
    """Return the registry name that an old or current name stands for."""
    return NAMES.get(name, name)


def current_fields(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the setting `name` under their current names."""
    renamed = FIELDS.get(name, {})
    return {renamed.get(field, field): value for field, value in fields.items()}


def current(spec: Any) -> Any:
    """Return the JSON form {"name": ..., field: value} under current names; any other value unchanged."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        return spec
    name = current_name(spec["name"])
    return current_fields(name, {**spec, "name": name})
