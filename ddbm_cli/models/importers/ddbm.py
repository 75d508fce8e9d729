"""Checkpoints of DDBM, DBIM and other ADM U-Nets: the names are ours, the packing is not.

Attention weights lie in 4, 3 or 2 dimensions. The network may stand below prefixes of wrappers (`module.`, `model.`,
`_orig_mod.`) and containers, beside other networks. A place is a prefix below which wanted names stand; the one with
the network is a place with most of them, and of several such the average of the weights (EMA), which samples best.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.networks import ADMConfig, detect, normalise

SHOWN = 4
"""Names that a message lists."""

MOST_NAMES = 10_000
"""A file with more is no checkpoint whose network is worth a guess."""

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

EMA = re.compile(r"(?<![a-z])(ema|shadow|averaged?)(?![a-z])")

HINT = "choose another model with --like, or describe this one in a weights.toml of your own"

Shapes = Mapping[str, tuple[int, ...]]


class Importer(Protocol):
    """What a registry's entry names: how a file's tensors become a network's."""

    def __call__(
        self, tensors: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes, *, file: str
    ) -> tuple[dict[str, Tensor], list[str]]: ...


def read(
    tensors: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes, *, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a network under its own names, and what a user should know of the choice.

    Args:
        tensors: all that the file holds, under flat names.
        config: what the network should be; shapes: of its parameters.
        file: its name, for messages.

    Raises:
        ModelError: it is another network; the message says in what, or which names are missing and unexpected.
    """
    place, others, notes = _choose(tensors, shapes)
    inside = {name: value for name, value in tensors.items() if name.startswith(place) and not name.startswith(others)}
    weights = normalise({name[len(place) :]: value for name, value in inside.items()})
    if {name: tuple(value.shape) for name, value in weights.items()} != shapes:
        raise ModelError(f"{file}: {_difference(weights, config, shapes)}", hint=HINT)
    odd = [name for name, value in weights.items() if value.dtype not in FLOATS]
    if odd:
        raise ModelError(f"{file}: '{odd[0]}' holds {weights[odd[0]].dtype}, no weights", hint="get the file anew")
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
    notes = [f"taken: '{place.rstrip('._')}'; left: {', '.join(left)}"] if left else []
    return place, tuple(each for each in full if each.startswith(place) and each != place), notes


def _difference(weights: Mapping[str, Tensor], config: ADMConfig, shapes: Shapes) -> str:
    """Return in what a network differs: its settings where they can be read, else its names."""
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
