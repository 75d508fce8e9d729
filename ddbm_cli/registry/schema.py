"""What a table of a user's registry may hold: the fields of `Entry` and of a card, within limits."""

import dataclasses
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.registry.card_format import upgrade
from ddbm_cli.registry.entry import REPO, Entry

LIMITS: dict[str, dict[str, Any]] = {
    "name": {"pattern": r"^\w[\w.-]*$", "max_length": 200},
    "file": {"min_length": 1},
    "repo": {"pattern": f"^({REPO})?$"},
    "revision": {"min_length": 1},
    "size": {"ge": 1, "lt": 2**63},
    "sha256": {"pattern": "^([0-9a-f]{64})?$"},
    "parameters": {"ge": 1, "lt": 2**63},
}
TYPES = typing.get_type_hints(Entry)
HIDDEN = ("origin", "packaged", "builtin", "path")
"""Fields that a user's table may not set."""

Setting = dict[str, Any]


class CardTable(TypedDict, total=False):
    """The types of a card's fields, as far as listing models relies on them; `ModelCard` checks the values."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    format: int
    kind: Literal["bridge", "prior"]
    network: Setting
    path: Setting
    prediction: Setting
    codec: Setting
    preprocess: Setting
    defaults: dict[str, Setting | int]
    concat_source: bool
    noise_channels: int
    inpainting: bool
    text_conditional: bool
    vocabulary: Setting
    text_encoder: Setting
    keep_sampler: bool
    class_names: list[str]
    directions: list[str]
    networks: list[str]
    condition_dropout: float
    clip: bool
    data: str
    limits: str
    training: Setting
    scores: Setting
    seen: dict[str, str]


def _upgraded(card: Any) -> Any:
    return upgrade(card) if isinstance(card, dict) else card


def _field(field: dataclasses.Field[Any]) -> tuple[Any, Any]:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    missing = ... if default is dataclasses.MISSING else default
    return TYPES[field.name], Field(missing, **LIMITS.get(field.name, {}))


FIELDS: dict[str, Any] = {each.name: _field(each) for each in dataclasses.fields(Entry) if each.name not in HIDDEN}
FIELDS["card"] = (Annotated[CardTable, pydantic.BeforeValidator(_upgraded)], {})
Table = pydantic.create_model(
    "Table",
    __doc__="A table of a user's registry file.",
    __config__=pydantic.ConfigDict(extra="forbid", allow_inf_nan=False),
    **FIELDS,
)


def checked(path: Path, name: str, table: Any, remedy: str) -> dict[str, Any]:
    """Return the fields of an `Entry` that a table sets.

    Raises:
        UsageError: a field is unknown, missing, of a wrong type or out of range; `remedy` is the hint.
    """
    place = f"{path}: [{name[:80]}]"
    if not isinstance(table, dict):
        raise UsageError(f"{place}: not a table", hint="a registry holds one table per model")
    try:
        found: dict[str, Any] = Table.model_validate({"name": name, **table}).model_dump(exclude_unset=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:80] for part in first["loc"])
        known = ", ".join(each for each in FIELDS if each != "name")
        unknown = first["type"] == "extra_forbidden" and len(first["loc"]) == 1
        raise UsageError(
            f"{place}: {where}: {first['msg']}", hint=f"choose from: {known}" if unknown else remedy
        ) from None
    if not (found.get("repo") or found.get("url")):
        raise UsageError(f"{place}: the table has neither 'repo' nor 'url'", hint='add repo = "owner/name"')
    if found.get("importer") and not found.get("card"):
        raise UsageError(f"{place}: a table with an importer needs a card", hint=f"add a table [{name}.card]")
    if "card" in found:
        found["card"] = table["card"]  # as written: conversions are named by it
    return found
