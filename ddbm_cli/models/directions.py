"""Models with two directions, between images A and images B: one of them as an ordinary bridge model.

The file has a network for each direction, whose weights have the direction's name and a dot as a prefix, or one network
with an embedding of the direction, the label of a class. The embedding is added to that of the time. So it is merged
into the last bias of the time embedding, and what remains is a network without classes.

From B to A the source is an image of B and the target one of A, on the same path: the pinned processes of the paths are
reversible up to a change of time.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models.assemble import CODEC_PREFIX, modules_of, outline, outline_codec
from ddbm_cli.models.card import AGAIN, FORWARD, ModelCard

EMBEDDING, BIAS = "label_emb.weight", "time_embed.2.bias"
"""Weights of ADM: the embedding (directions, width), and the bias (width,) that it is merged into."""


class Tensors(Protocol):
    """The tensors of a file, each read when it is asked for."""

    def keys(self) -> Any: ...

    def get_slice(self, name: str) -> Any: ...

    def get_tensor(self, name: str) -> Tensor: ...


def shapes_of(card: ModelCard) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors that the file of a card has, by name; of both directions, if it has two.

    Raises:
        ModelError: as `assemble`.
    """
    denoiser, codec = outline(card), outline_codec(card)
    modules = modules_of(dict.fromkeys(card.networks, denoiser) if card.networks else denoiser, codec)
    return {
        f"{prefix}{key}": tuple(tensor.shape)
        for prefix, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def check_direction(card: ModelCard, direction: str) -> None:
    """Check that a model translates in a direction; a model of one direction has the default only.

    Raises:
        UsageError: it does not.
    """
    if direction not in (card.directions or (FORWARD,)):
        raise UsageError(
            f"model '{card.name}' translates in one direction only, and --direction {direction} needs two",
            hint="leave out --direction, or train both directions: ddbm train A/ B/ --task schrodinger",
        )


def one_direction(card: ModelCard, tensors: Tensors, direction: str = FORWARD) -> tuple[ModelCard, Tensors]:
    """Return card and tensors of one direction, as those of an ordinary bridge; a model of one stays what it is.

    Raises:
        UsageError: the model does not translate in that direction.
        ModelError: a tensor that the direction needs is missing.
    """
    check_direction(card, direction)
    if not card.directions:
        return card, tensors
    if card.networks:
        return one_card(card, direction), _Named(tensors, f"{direction}.")
    return one_card(card, direction), _Embedded(tensors, card.directions.index(direction))


def one_card(card: ModelCard, direction: str) -> ModelCard:
    """Return the card of one direction of a card with two."""
    network = card.network if card.networks else {key: card.network[key] for key in card.network if key != "classes"}
    alone = replace(card, name=f"{card.name}-{direction}", directions=(), networks=(), network=network)
    if direction == FORWARD:
        return alone
    source, arrow, target = card.task.partition("->")
    task = f"{target.strip()} -> {source.strip()}" if arrow else card.task
    return replace(alone, task=task, expects=None, tuned={})


class _Named:
    """The tensors of one network of several, and those of the codec."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self._tensors = tensors
        names: Mapping[str, str] = {name: name for name in tensors.keys() if name.startswith(CODEC_PREFIX)}  # noqa: SIM118
        own = {name.removeprefix(prefix): name for name in tensors.keys() if name.startswith(prefix)}  # noqa: SIM118
        self._names = {**own, **names}

    def keys(self) -> list[str]:
        return list(self._names)

    def get_slice(self, name: str) -> Any:
        return self._tensors.get_slice(self._names[name])

    def get_tensor(self, name: str) -> Tensor:
        return self._tensors.get_tensor(self._names[name])


class _Embedded:
    """The tensors of a network with the embedding of one direction merged into its bias."""

    def __init__(self, tensors: Tensors, label: int) -> None:
        found = set(tensors.keys())
        if not {EMBEDDING, BIAS} <= found:
            raise ModelError("the network of two directions has no embedding of the direction", hint=AGAIN)
        self._tensors, self._label, self._names = tensors, label, sorted(found - {EMBEDDING})

    def keys(self) -> list[str]:
        return self._names

    def get_slice(self, name: str) -> Any:
        return self._tensors.get_slice(name)

    def get_tensor(self, name: str) -> Tensor:
        tensor = self._tensors.get_tensor(name)
        if name != BIAS:
            return tensor
        embedding = self._tensors.get_tensor(EMBEDDING)
        return (tensor.float() + embedding[self._label].float()).to(tensor.dtype)
