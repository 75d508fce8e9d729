"""Checkpoints of DDBM, DBIM and other ADM U-Nets: our names, in other containers.

Attention weights have 4, 3 or 2 dimensions. The names may have prefixes of wrappers (`module.`, `model.`, `_orig_mod.`)
and containers, and the file may hold several networks. The network is found by the prefix with the most expected names;
of several, the average of the weights (EMA) is taken, which samples best.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.networks import ADMConfig, detect, normalise

SHOWN = 4
"""Names that a message lists."""

MOST_NAMES = 10_000
"""The settings of networks with more tensors are not guessed."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

EMA = re.compile(r"(?<![a-z])(ema|shadow|averaged?)(?![a-z])")

HINT = "choose another model with --like, or describe this one in a weights.toml of your own"

Shapes = Mapping[str, tuple[int, ...]]


class Importer(Protocol):
    """Converts the tensors of a file to the weights of a network."""

    def __call__(
        self, tensors: Mapping[str, Tensor], config: Any, shapes: Shapes, *, file: str
    ) -> tuple[dict[str, Tensor], list[str]]: ...


def read(
    tensors: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes, *, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a network under its own names, and notes for the user.

    Args:
        tensors: all that the file holds, under flat names.
        config: settings of the network; shapes: of its parameters.
        file: its name, for messages.

    Raises:
        ModelError: it is another network; the message names the settings, or the missing and unexpected names.
    """
    place, others, notes = _choose(tensors, shapes)
    inside = {name: value for name, value in tensors.items() if name.startswith(place) and not name.startswith(others)}
    weights = normalise({name[len(place) :]: value for name, value in inside.items()})
    if {name: tuple(value.shape) for name, value in weights.items()} != shapes:
        raise ModelError(f"{file}: {_difference(weights, config, shapes)}", hint=HINT)
    odd = [name for name, value in weights.items() if value.dtype not in FLOATS]
    if odd:
        raise ModelError(
            f"{file}: '{odd[0]}' is of type {weights[odd[0]].dtype}, not floating point", hint="download the file again"
        )
    return {name: weights[name] for name in shapes}, notes


def _choose(names: Collection[str], wanted: Collection[str]) -> tuple[str, tuple[str, ...], list[str]]:
    """Return the prefix of the network, prefixes of other networks inside it, and notes."""
    counts: Counter[str] = Counter()
    for name in names:
        ends = [0, *(match.end() for match in re.finditer(r"[._]", name))]
        counts.update(name[:end] for end in ends if name[end:] in wanted)
    full = [place for place, count in counts.items() if 2 * count > max(counts.values())]
    averages = sorted(place for place in full if EMA.search(place.lower()))
    # Of averages with several rates, the names sort the longest memory last.
    place = averages[-1] if averages else min(full, key=lambda place: (-counts[place], len(place)), default="")
    left = [each.rstrip("._") or "the plain weights" for each in full if each != place]
    notes = [f"imported: '{place.rstrip('._')}'; not imported: {', '.join(left)}"] if left else []
    return place, tuple(each for each in full if each.startswith(place) and each != place), notes


def _difference(weights: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes) -> str:
    """Return how a network differs: in its settings if these can be detected, else in its names."""
    if len(weights) <= MOST_NAMES:
        try:
            found, wanted = vars(detect(weights, head_channels=config.head_channels)), vars(config)
        except ModelError:
            pass
        else:
            odd = [name for name in wanted if found[name] != wanted[name] and name != "dropout"]
            return "another network: " + ", ".join(f"{name} {found[name]}, not {wanted[name]}" for name in odd)
    parts = [
        _list("missing", [name for name in shapes if name not in weights]),
        _list("unexpected", [name for name in weights if name not in shapes]),
        _list(
            "of another shape",
            [
                f"{name} {tuple(weights[name].shape)}, not {shape}"
                for name, shape in shapes.items()
                if name in weights and tuple(weights[name].shape) != shape
            ],
        ),
    ]
    return "; ".join(filter(None, parts))


def _list(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} parameters {what} ({', '.join(name[:80] for name in names[:SHOWN])}{more})"
