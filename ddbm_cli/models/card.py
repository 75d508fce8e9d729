"""A model's card: all that is known about a weights file, kept in the file's own header.

The card says how to build the network and how to call it, so weights never need a script beside them; and it says
where they come from, so a user can judge them.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import pydantic
from typing_extensions import TypedDict  # of typing, but pydantic wants this one before Python 3.12

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.registry.header import HEADER_KEY

FORMAT = 1
"""Version of the card; a file with a higher one was written by a later release."""


class Defaults(TypedDict):
    """How to sample when the user does not say: three settings as {"name": ..., field: value}, and a number."""

    sampler: dict[str, Any]
    grid: dict[str, Any]
    start: dict[str, Any]
    steps: int


@settings
class ModelCard:
    """What a weights file is.

    name: short name; task: one line, "sketch -> picture".
    network, path, prediction: settings as {"name": ..., field: value}.
    sees_source: the network gets x_T beside x_t on its channels.
    classes: names of the classes that the network can be told, in the order of its labels.
    drop: share of the training in which the source was left out, the label, and both; 0 if it never was, and then
        there is nothing that guidance could be told from.
    preprocess: how pixels become the network's input and back.
    defaults: how to sample when the user does not say: sampler, grid, start, steps.
    clip: keep estimates within -1..1 while sampling.
    fills_holes: sources have a hole, painted white, that a mask tells; all else stays as it is.
    licence, data, limits: words for the user. training, scores: facts and held-out numbers.
    seen: which pictures it was trained on, and which were held out; see `models.seen`.
    """

    name: str
    task: str
    network: dict[str, Any]
    path: dict[str, Any]
    prediction: dict[str, Any]
    preprocess: Preprocess
    defaults: Defaults
    sees_source: bool = True
    classes: tuple[str, ...] = ()
    drop: float = 0.0
    clip: bool = True
    fills_holes: bool = False
    licence: str = "not stated"
    data: str = "not stated"
    limits: str = "not stated"
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def header(self) -> dict[str, str]:
        """Return the metadata of a safetensors file that carries this card."""
        return {
            "format": "pt",
            HEADER_KEY: json.dumps(describe_card(self), sort_keys=True),
            "modelspec.title": self.name,
            "modelspec.description": self.task,
            "modelspec.license": self.licence,
        }


def describe_card(card: ModelCard) -> dict[str, Any]:
    """Return the card's JSON form."""
    return dict(pydantic.TypeAdapter(ModelCard).dump_python(card, mode="json"))


def read_card(header: Mapping[str, str], *, file: str) -> ModelCard:
    """Return the card in a safetensors header.

    Raises:
        ModelError: there is none, it is from a later release, or it is damaged.
    """
    if HEADER_KEY not in header:
        raise ModelError(
            f"{file}: no model card in the file's header",
            hint="only models written by ddbm describe themselves; train one with: ddbm train DATA",
        )
    try:
        body = json.loads(header[HEADER_KEY])
        version = body.get("format", 0)
    except (ValueError, AttributeError, RecursionError):
        raise ModelError(f"{file}: the model card is not readable", hint="get the file anew") from None
    if not isinstance(version, int) or version > FORMAT:
        raise ModelError(
            f"{file}: its model card has format {version}, this release reads up to {FORMAT}",
            hint="upgrade with: pip install --upgrade ddbm-cli",
        )
    try:
        return pydantic.TypeAdapter(ModelCard).validate_python(body)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{file}: model card: {place}: {first['msg']}", hint="get the file anew") from None
