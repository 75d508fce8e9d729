"""The model card: all facts about a model file, stored in the file's own header.

The card describes how to build and call the network, so that weights need no script. It also states their origin, data
and licence.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import Field
from typing_extensions import TypedDict  # of typing, but pydantic requires this one before Python 3.12

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.settings import adapter, settings
from ddbm_cli.foundation.text import one_line
from ddbm_cli.imaging.preparing import Expects
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models.vocabulary import Vocabulary
from ddbm_cli.options.tune import MOST_BUDGETS
from ddbm_cli.registry.card_format import FORMAT, OLDEST, upgrade
from ddbm_cli.registry.header import HEADER_KEY

Setting = dict[str, Any]
"""A setting as {"name": ..., field: value}."""

Budget = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}$")]

AGAIN = "download the file again"

Direction = Literal["AtoB", "BtoA"]

FORWARD: Direction = "AtoB"
"""The direction of a model of which none is given."""

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
"""The directions of a model that has two, in the order of their embedding."""

TUNED_GRID = "timesteps"
"""The grid that is a list of times."""


class Defaults(TypedDict):
    """How to sample by default: three settings as {"name": ..., field: value}, and a number."""

    sampler: Setting
    grid: Setting
    start: Setting
    steps: int


class Tuned(Defaults):
    """How to sample with one budget, found by `ddbm tune`.

    distance, distance_before: to the solution of many evaluations, with these settings and with those before.
    """

    distance: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    distance_before: Annotated[float, Field(ge=0, allow_inf_nan=False)]


@settings
class EncoderFacts:
    """The frozen text encoder of a model, which is no part of its file.

    reference: "clip:" or "t5:", and a folder or a repository, see `models.encoders.find_encoder`.
    width: of its features. length: number of tokens of a text, at most. sha256: of the files with its weights.
    padded: the features of the tokens that fill up a text are used too, as Stable Diffusion does.
    """

    reference: Annotated[str, Field(pattern=r"^(clip|t5):.", max_length=4096)]
    width: Annotated[int, Field(ge=1, le=2**13)]
    length: Annotated[int, Field(ge=1, le=2**10)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    padded: bool = False


@settings
class ModelCard:
    """What a weights file is.

    name: short name; task: one line, "sketch -> photo".
    kind: "bridge" translates a source image; "prior" generates images from noise alone, without a source.
    network, path, prediction: settings as {"name": ..., field: value}.
    concat_source: the network gets x_T concatenated to x_t along the channels.
    markov: the model is a Markov process, whose steps depend on the state alone; no sampler may use the source.
    noise_channels: number of channels of noise that the network gets besides state and source, for models that are
        distilled to one evaluation.
    inpainting: sources have a hole, given by a mask; everything outside the hole is kept.
    text_conditional: the network takes a text prompt.
    vocabulary: the tokens of the texts of a network with a text encoder of its own.
    text_encoder: the frozen encoder whose features of a text the network takes.
    class_names: names of the classes in the order of the network's labels; empty if they have none.
    condition_dropout: fraction of the training steps without source, without class and without both, which
        classifier-free guidance needs; 0 if there were none.
    directions: AtoB and BtoA, for a model that translates in both; empty for one direction. The other fields are those
        of AtoB; see `models.directions`.
    networks: the names of the networks, where each direction has its own: those of the directions. Empty with two
        directions: one network with an embedding of the direction, the label of a class.
    codec: how images become the states of the path and back, a setting; by default they are the pixels themselves.
    preprocess: how an image file becomes an image of the model's size and back.
    expects: what the sources of the training look like, so that others can be prepared; None: not stated.
    defaults: how to sample by default: sampler, grid, start, steps.
    keep_sampler: use the sampler of `defaults` for other budgets too, because it was chosen by hand.
    tuned: how to sample with a budget of network evaluations, by the budget as text; see `ddbm tune`.
    clip: limit estimates of x_0 to -1..1 while sampling.
    licence, data, limits: words for the user. training, scores: facts and held-out results.
    seen: which images were used for training and which were held out; see `models.seen`.
    format: version of the card; see `registry.card_format`.
    """

    name: str
    task: str
    network: Setting
    path: Setting
    prediction: Setting
    preprocess: Preprocess
    defaults: Defaults
    keep_sampler: bool = False
    tuned: Annotated[dict[Budget, Tuned], Field(max_length=MOST_BUDGETS)] = field(default_factory=dict)
    codec: Setting = field(default_factory=lambda: {"name": "pixels"})
    expects: Expects | None = None
    kind: Literal["bridge", "prior"] = "bridge"
    concat_source: bool = True
    markov: bool = False
    noise_channels: Annotated[int, Field(ge=0, le=64)] = 0
    inpainting: bool = False
    text_conditional: bool = False
    vocabulary: Vocabulary | None = None
    text_encoder: EncoderFacts | None = None
    class_names: tuple[str, ...] = ()
    directions: tuple[Direction, ...] = ()
    networks: tuple[Direction, ...] = ()
    condition_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    clip: bool = True
    licence: str = "not stated"
    data: str = "not stated"
    limits: str = "not stated"
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def num_classes(self) -> int:
        """Number of classes of the network; 0 if it is not class-conditional."""
        return 0 if self.embeds_direction else int(self.network.get("classes") or 0)

    @property
    def embeds_direction(self) -> bool:
        """Whether the labels of the network are directions."""
        return bool(self.directions) and not self.networks

    @property
    def adapts(self) -> bool:
        """Whether budgets other than that of `defaults` get the sampler that `--sampler auto` chooses.

        A list of times was tuned for the model, and the network of a student is for its own sampler only.
        """
        is_student = "teacher" in self.training
        return not (self.keep_sampler or is_student or self.defaults["grid"]["name"] == TUNED_GRID)

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
    return dict(adapter(ModelCard).dump_python(card, mode="json"))


def read_card(header: Mapping[str, str], *, file: str) -> ModelCard:
    """Return the card in a safetensors header; a card of an earlier format is upgraded.

    Raises:
        ModelError: there is none, it is from a later release, damaged or contradictory.
    """
    if HEADER_KEY not in header:
        raise ModelError(
            f"{file}: no model card in the file's header",
            hint="only models written by ddbm have one; for others: ddbm weights import --help",
        )
    try:
        body = parse_json(header[HEADER_KEY])
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ModelError(f"{file}: the model card is not readable", hint=AGAIN)
    return parse_card(body, where=f"{file}: model card", hint=AGAIN)


def parse_card(body: Mapping[str, Any], *, where: str, hint: str) -> ModelCard:
    """Return the card of plain values in any format.

    Args:
        where: what the card is part of; an error's message begins with it.
        hint: what to do about an error.

    Raises:
        ModelError: the card is from a later release, has wrong values, or contradicts itself.
    """
    version = body.get("format", OLDEST)
    try:
        upgraded = upgrade(body)
    except ValueError:
        later = type(version) is int and version > FORMAT
        raise ModelError(
            f"{where}: format {version!r:.40}; this release reads up to {FORMAT}",
            hint="upgrade with: pip install --upgrade ddbm-cli" if later else hint,
        ) from None
    try:
        card: ModelCard = adapter(ModelCard).validate_python(upgraded)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = one_line(".".join(str(part)[:80] for part in first["loc"]))
        raise ModelError(f"{where}: {place}: {first['msg'][:200]}", hint=hint) from None
    except RecursionError:
        raise ModelError(f"{where}: nested too deeply", hint=hint) from None
    contradiction = _contradiction(card)
    if contradiction:
        raise ModelError(f"{where}: {contradiction}", hint=hint)
    return card


def _contradiction(card: ModelCard) -> str:
    """Return in what two fields contradict each other, "" for nothing."""
    classes = card.network.get("classes")
    if classes is not None and (type(classes) is not int or classes < 1):
        return "network.classes: not a whole number above 0"
    if card.class_names and len(card.class_names) != card.num_classes:
        return f"{len(card.class_names)} class_names, but the network has {card.num_classes} classes"
    fault = _fault_of_directions(card) or _fault_of_texts(card)
    if fault:
        return fault
    if card.markov and card.concat_source:
        return "markov and concat_source"
    if card.kind == "prior" and (card.concat_source or card.inpainting):
        return f"a prior with {'concat_source' if card.concat_source else 'inpainting'}"
    for place, sampling in (("defaults", card.defaults), *((f"tuned.{nfe}", each) for nfe, each in card.tuned.items())):
        if sampling["steps"] < 1:
            return f"{place}.steps: must be at least 1"
    return ""


def _fault_of_texts(card: ModelCard) -> str:
    """Return in what the texts contradict other fields, "" for nothing."""
    tokens, known = card.network.get("vocabulary"), card.vocabulary
    if tokens != (len(known.tokens) if known else None):
        return f"network.vocabulary is {tokens}, the card has {len(known.tokens) if known else 'no'} tokens"
    if known and (not card.text_conditional or card.network.get("classes") is not None):
        return "a vocabulary of a network that does not take texts alone"
    return _fault_of_encoder(card) or (known.fault if known else "")


def _fault_of_encoder(card: ModelCard) -> str:
    """Return in what the frozen text encoder contradicts other fields, "" for nothing."""
    encoder, network = card.text_encoder, card.network
    if network.get("text_features") != (encoder.width if encoder else None):
        return f"network.text_features is {network.get('text_features')!r:.40}, which is not the text encoder's width"
    if encoder is None:
        return ""
    if not card.text_conditional or card.vocabulary or network.get("classes") is not None:
        return "a text encoder of a network that does not take its features alone"
    if network.get("tokens", encoder.length) != encoder.length:
        return f"network.tokens is {network['tokens']!r:.40}, the text encoder has {encoder.length}"
    return ""


def _fault_of_directions(card: ModelCard) -> str:
    """Return in what the directions contradict other fields, "" for nothing."""
    if card.directions not in ((), DIRECTIONS) or card.networks not in ((), card.directions):
        return f"directions and networks are not both {' and '.join(DIRECTIONS)}"
    if card.directions and (card.kind == "prior" or card.inpainting or card.text_conditional):
        return "two directions of a model that is no bridge between two sets of images"
    if card.embeds_direction and card.network.get("classes") != len(DIRECTIONS):
        return f"network.classes: not {len(DIRECTIONS)}, one for each direction"
    return ""
