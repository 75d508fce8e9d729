"""Training from the weights of another model, whose network may differ in some layers.

Weights are found by their names. A layer of the same shape is copied. A layer of another shape is adapted: the channels
that both have are copied, and further input channels are initialised to zero, as in InstructPix2Pix (arXiv:2211.09800),
so that the network begins with the same output. Where patches are larger or smaller by a whole factor, the network
begins with the output for the resized image. Classes are found by their names in the card. All else is new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.assemble import CODEC_PREFIX
from ddbm_cli.models.card import FORWARD
from ddbm_cli.models.directions import one_direction
from ddbm_cli.models.load import open_model
from ddbm_cli.models.pipeline import NO_TEXT
from ddbm_cli.networks import Directed

CLASSES = "label_emb.weight"

TEXTS = "context"
"""Embeddings of texts, in networks of diffusers."""


@dataclass(frozen=True)
class Started:
    """What a network got from a model.

    same: how many tensors were copied. adapted: name -> how, for those of another shape. new: names of those that the
    model has not. unused: names of the model that the network has not. notes: in words, for the header of a run.
    """

    same: int = 0
    adapted: dict[str, str] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def start_from(
    network: nn.Module,
    file: Path,
    classes: Sequence[str] = (),
    *,
    texts: Sequence[str] = NO_TEXT,
    direction: str = FORWARD,
) -> Started:
    """Load the weights of a model into a network, as far as they fit.

    Args:
        network: what is trained, with fresh weights; changed in place.
        file: a model file, or a folder in diffusers' layout; of two directions, the weights of `direction`, or those
            of both, where the network has an embedding of directions, too.
        classes: the names of the network's classes, if it has any.
        texts: of a text-to-image pipeline, as of `open_pipeline`.

    Raises:
        ModelError: the file cannot be read.
        UsageError: no weights fit.
    """
    own, first = network.state_dict(), getattr(network, "first_layer", "")
    patch_layers, in_parts = getattr(network, "patch_layers", {}), getattr(network, "layers_in_parts", {})
    joined_inputs = getattr(network, "joined_inputs", {})
    adaptable = ({*own} if getattr(network, "adapts_every_layer", False) else {first, *patch_layers}) - {CLASSES}
    same, adapted, new = 0, dict[str, str](), list[str]()
    with open_model(file, texts) as opened, torch.no_grad():
        card, tensors = opened
        if not (card.embeds_direction and CLASSES in own and not classes):
            card, tensors = one_direction(card, tensors, direction if card.directions else FORWARD)
        names = {name for name in tensors.keys() if not name.startswith(CODEC_PREFIX)}  # noqa: SIM118 - not a dict
        settings = getattr(network, "config", None)
        patches = getattr(settings, "patch", 1), card.network.get("patch", 1)
        has_places = getattr(settings, "places", False) or card.network.get("places", False)
        for name, fresh in own.items():
            given = tensors.get_tensor(name).to(fresh) if name in names else None
            by_patch = name in patch_layers and patches[0] != patches[1]
            if given is not None and by_patch:
                given = None if has_places else _repatched(given, patch_layers[name], patches[1], patches[0])
            if given is not None and name == CLASSES and card.class_names:
                made, adapted[name] = _classes(given, fresh, card.class_names, classes)
                fresh.copy_(made)
            elif given is not None and given.shape == fresh.shape and not by_patch:
                fresh.copy_(given)
                same += fresh.ndim > 1
            elif (
                given is not None
                and name in adaptable
                and _have_common_channels(given, fresh, _stated(joined_inputs, name))
            ):
                fresh.copy_(_adapted(given, fresh, _stated(in_parts, name) or 1))
                what = f"patches of {patches[1]} -> {patches[0]}, " if by_patch else ""
                adapted[name] = f"{what}{_shape(given)} -> {_shape(fresh)}"
            else:
                new.append(name)
    if not same:
        raise UsageError(
            f"{file.name}: no weights of this model fit the network",
            hint="leave out --network: the network of the model is used",
        )
    if TEXTS in new:
        raise UsageError(
            f"{file.name}: it holds the embeddings of other texts",
            hint="pass the pipeline itself: --from diffusers:...",
        )
    notes = _notes(own, new, adapted, first=first)
    return Started(same, adapted, tuple(new), tuple(sorted(names - own.keys())), notes)


def start_both(networks: Directed, file: Path) -> Started:
    """Load the weights of a model into both networks of two directions; of a model of one direction, the same ones.

    Raises:
        ModelError, UsageError: as `start_from`.
    """
    found = {name: start_from(network, file, direction=name) for name, network in networks.named_children()}
    return Started(
        sum(each.same for each in found.values()),
        {f"{name}.{key}": how for name, each in found.items() for key, how in each.adapted.items()},
        tuple(f"{name}.{key}" for name, each in found.items() for key in each.new),
        tuple(dict.fromkeys(key for each in found.values() for key in each.unused)),
        tuple(dict.fromkeys(note for each in found.values() for note in each.notes)),
    )


def _notes(own: dict[str, Tensor], new: list[str], adapted: dict[str, str], *, first: str) -> tuple[str, ...]:
    notes = []
    if first in adapted and not bool(own[first][:, -1].any()):
        notes.append("the weights of the source's channels are new")
    if CLASSES in new:
        notes.append("the weights of classes are new")
    if CLASSES in adapted:
        notes.append(f"of the classes {adapted[CLASSES]}")
    return tuple(notes)


def _classes(given: Tensor, fresh: Tensor, before: Sequence[str], now: Sequence[str]) -> tuple[Tensor, str]:
    """Return the embeddings of classes, those of known names copied, and what was done in words."""
    made, known = fresh.clone(), [name for name in now if name in before]
    if given.shape[1] != fresh.shape[1]:
        return made, "all are new"
    for name in known:
        made[now.index(name)] = given[list(before).index(name)]
    return made, f"{len(known)} of {len(now)} are those of the model"


def _repatched(given: Tensor, dimension: int, before: int, now: int) -> Tensor | None:
    """Return a layer for patches of another side, which sees the mean of pixels, or repeats them; None if none does.

    Args:
        dimension: the one with the pixels of a patch; 1 for the input, 0 for the output.
    """
    large, small = max(before, now), min(before, now)
    if large % small or given.shape[dimension] % before**2:
        return None
    factor, is_input, is_finer = large // small, dimension == 1, now > before
    pixels = torch.unflatten(given, dimension, (-1, before, before))
    for side in (dimension + 1, dimension + 2):
        if is_finer:
            pixels = pixels.repeat_interleave(factor, side) / (factor if is_input else 1)
        else:
            blocks = torch.unflatten(pixels, side, (now, factor))
            pixels = blocks.sum(side + 1) if is_input else blocks.mean(side + 1)
    return pixels.flatten(dimension, dimension + 2)


def _stated(layers: Mapping[str, int], name: str) -> int | None:
    """Return what a network states of a layer by a pattern of its name; None for nothing."""
    return next((number for pattern, number in layers.items() if fnmatchcase(name, pattern)), None)


def _have_common_channels(given: Tensor, fresh: Tensor, joined: int | None) -> bool:
    """Return whether two layers have channels in common that are at the same places in both.

    Args:
        joined: the dimension with two lists of channels in a row, whose lengths the shapes do not give; None for none.
    """
    if given.ndim != fresh.ndim or given.shape[2:] != fresh.shape[2:]:
        return False
    return joined is None or given.shape[joined] == fresh.shape[joined]


def _adapted(given: Tensor, fresh: Tensor, parts: int) -> Tensor:
    """Return a layer with the channels that both have in each of its parts, and zeros for further inputs of these."""
    pairs = zip(given.chunk(parts), fresh.chunk(parts), strict=True)
    return torch.cat([_overlaid(old, new) for old, new in pairs])


def _overlaid(given: Tensor, fresh: Tensor) -> Tensor:
    made = fresh.clone()
    rows = min(len(given), len(fresh))
    if fresh.ndim == 1:
        made[:rows] = given[:rows]
        return made
    columns = min(given.shape[1], fresh.shape[1])
    made[:rows] = 0
    made[:rows, :columns] = given[:rows, :columns]
    return made


def _shape(tensor: Any) -> str:
    return "x".join(map(str, tensor.shape))
