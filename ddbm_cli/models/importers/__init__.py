"""Conversion of other programs' weights to model files: weights under our names, the card of a registry entry.

Each naming scheme has a module here. Tensors are views of the mapped file, so an import takes the memory of the file
once; `write_model` converts and writes one tensor at a time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.foundation.devices import DTYPES, is_finite, short_name
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.assemble import CODEC_PREFIX, divided, outline, outline_codec
from ddbm_cli.models.card import AGAIN, ModelCard, parse_card, read_card
from ddbm_cli.models.checkpoint import read_header, write_model
from ddbm_cli.models.directions import shapes_of
from ddbm_cli.models.importers import adm, ddbm, i2sb, lbm
from ddbm_cli.models.importers.container import open_checkpoint
from ddbm_cli.models.layout import WEIGHTS, is_folder, read_folder
from ddbm_cli.networks import NETWORKS, ADMConfig
from ddbm_cli.registry import Entry
from ddbm_cli.registry.header import HEADER_KEY

IMPORTERS: dict[str, ddbm.Importer] = {
    "ddbm": ddbm.read,
    "adm": adm.read,
    "adm-new-attention": adm.read_new_attention,
    "i2sb": i2sb.read,
    "lbm": lbm.read,
}
"""Name of an importer, as in the registry -> its function; an entry without importer has our own names."""

WITH_CODEC = ("lbm",)
"""Importers of files that hold network and codec, of any network."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The result of an import.

    size_in, size_out: of the files, in bytes. dtype: of the written weights, as in `--dtype`.
    notes: sentences for the user.
    """

    source: Path
    output: Path
    card: ModelCard
    parameters: int
    size_in: int
    size_out: int
    dtype: str
    notes: tuple[str, ...] = ()


def import_file(source: Path, output: Path, entry: Entry | None = None, *, dtype: str | None = None) -> ImportReport:
    """Convert weights of another program to a model file.

    Args:
        source: a PyTorch or safetensors file, or a folder in diffusers' layout.
        output: the model file; written completely or not at all.
        entry: the registry's entry of these weights; None for files that have a card.
        dtype: "fp32", "fp16" or "bf16" to convert; None keeps the file's own.

    Raises:
        ModelError: the file cannot be read, or its weights are not those of the card.
        UsageError: neither entry nor file has a card, or there is no such dtype.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype '{dtype}'", hint=f"choose one of: {', '.join(DTYPES)}")
    tensors, own_card = _open(source)
    card = own_card if entry is None else card_of(entry)
    if card is None:
        raise UsageError(
            f"{source}: the file has no model card", hint="specify the model: --like NAME; names: ddbm weights list"
        )
    network = {name: tuple(value.shape) for name, value in outline(card).network.state_dict().items()}
    config = build(NETWORKS, card.network, what="network")
    with_codec = entry is not None and entry.importer in WITH_CODEC
    if not isinstance(config, ADMConfig) and not with_codec:
        raise ModelError(f"{source}: networks '{config.name}' cannot be imported", hint="see: ddbm weights list")
    shapes = shapes_of(card) if with_codec else network
    of_codec: dict[str, Tensor] = {}
    if own_card is card:
        tensors, of_codec = divided(tensors)
        _check_codec(card, of_codec, source.name)
    weights, notes = _importer(entry)(tensors, config, shapes, file=source.name)
    weights |= of_codec
    target = DTYPES[dtype] if dtype else _common(weights)
    _check_range(weights, target, source.name)
    write_model(output, card, weights, dtype=target)
    return ImportReport(
        source=source,
        output=output,
        card=card,
        parameters=sum(math.prod(shape) for shape in network.values()),
        size_in=(source / WEIGHTS if source.is_dir() else source).stat().st_size,
        size_out=output.stat().st_size,
        dtype=short_name(target),
        notes=tuple(notes),
    )


def _check_codec(card: ModelCard, weights: Mapping[str, Tensor], file: str) -> None:
    """Raise unless these are the weights of a card's codec."""
    wanted = {f"{CODEC_PREFIX}{name}": value.shape for name, value in outline_codec(card).state_dict().items()}
    found = {name: value.shape for name, value in weights.items() if value.dtype in ddbm.FLOATS}
    if wanted != found:
        odd = sorted(name for name in wanted.keys() | weights.keys() if wanted.get(name) != found.get(name))
        raise ModelError(f"{file}: the codec's weights do not fit its card, first '{odd[0][:80]}'", hint=AGAIN)


def card_of(entry: Entry) -> ModelCard:
    """Return the card of a registry entry.

    Raises:
        ModelError: the entry's card is not complete, or has a wrong value.
    """
    if entry.builtin:
        return read_card(read_header(entry.builtin_file), file=entry.builtin_file.name)
    body = {"name": entry.name, "task": entry.task, "licence": entry.licence, **entry.card}
    return parse_card(body, where=f"{entry.origin}: [{entry.name}.card]", hint="correct the model's card there")


def _open(source: Path) -> tuple[dict[str, Tensor], ModelCard | None]:
    try:
        return _opened(source)
    except OSError as error:
        raise ModelError(f"{source}: not readable ({error.strerror})", hint="check the path") from None


def _opened(source: Path) -> tuple[dict[str, Tensor], ModelCard | None]:
    if source.is_dir():
        if not is_folder(source):
            raise ModelError(f"{source}: no model in diffusers' layout", hint="specify a folder with unet/, or a file")
        card, weights = read_folder(source)
        return weights, card
    tensors = open_checkpoint(source)
    header = read_header(source) if source.suffix == ".safetensors" else {}
    return tensors, read_card(header, file=source.name) if HEADER_KEY in header else None


def _importer(entry: Entry | None) -> ddbm.Importer:
    name = entry.importer if entry is not None and entry.importer else "ddbm"
    if name not in IMPORTERS:
        raise ModelError(f"unknown importer '{name}'", hint=f"choose one of: {', '.join(IMPORTERS)}")
    return IMPORTERS[name]


def _common(weights: dict[str, Tensor]) -> torch.dtype:
    """Return the number format of the weights, the widest of several."""
    widest = max((value.dtype for value in weights.values()), key=lambda dtype: dtype.itemsize)
    return widest if widest in DTYPES.values() else torch.float32  # float64 has no use here


def _check_range(weights: dict[str, Tensor], dtype: torch.dtype, file: str) -> None:
    for name, value in weights.items():
        if not is_finite(value):
            raise ModelError(f"{file}: '{name}' contains NaN or infinity", hint="download the file again")
        if value.dtype != dtype and not is_finite(value.to(dtype)):
            raise ModelError(
                f"{file}: '{name}' has values up to {float(value.abs().max()):.3g}, out of the range of {dtype}",
                hint="use --dtype bf16, or fp32",
            )
