"""Load a model file, or a folder in diffusers' layout. References are resolved in `resolve`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.codecs.diffusers import of_half_precision
from ddbm_cli.foundation.devices import choose_device, choose_dtype, is_finite, short_name
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file
from ddbm_cli.models.adapters import Merged, base_of, find_base
from ddbm_cli.models.assemble import CODEC_PREFIX, modules_of, outline, outline_codec
from ddbm_cli.models.card import AGAIN, FORWARD, ModelCard, read_card
from ddbm_cli.models.checkpoint import open_tensors
from ddbm_cli.models.directions import Tensors, one_direction, shapes_of
from ddbm_cli.models.features import TextFeatures
from ddbm_cli.models.layout import CARD, WEIGHTS, read_folder, weight_files
from ddbm_cli.models.memory import LARGE, has_room, return_large_blocks
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.pipeline import NO_TEXT, card_of_pipeline, open_pipeline, pipeline_digest, weights_of_pipeline
from ddbm_cli.models.speed import measure
from ddbm_cli.models.texts import PipelineTexts
from ddbm_cli.networks import DiffusersNetwork, pack
from ddbm_cli.networks.memory_format import best_memory_format, set_memory_format
from ddbm_cli.registry.pipelines import is_pipeline_folder
from ddbm_cli.samplers import Plan

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Number formats of weights."""


def load_file(
    path: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    name: str = "",
    direction: str = FORWARD,
    packed: bool = True,
) -> TranslationModel:
    """Load a model onto a device.

    Args:
        path: a model file, or a folder in diffusers' layout with a card; or a text-to-image pipeline.
        device: "auto" (a GPU if there is one), or torch's name: "cpu", "cuda:1", "mps".
        dtype: "auto" (bfloat16 on GPUs that support it, and for large networks on CPUs where it is measured to be
            faster; float32 elsewhere), "fp32", "fp16" or "bf16".
        name: the name of the file in errors; its own if not given.
        direction: of a model that has two, "AtoB" or "BtoA".
        packed: whether a CPU keeps a second copy of the weights, in the layouts that it computes fastest with.

    Raises:
        ModelError: the file is damaged, or weights and card disagree.
        UsageError: no such device or dtype, or direction.
    """
    where, number = _place(device, dtype)
    auto = dtype == "auto"
    name = name or path.name
    with open_model(path) as (card, tensors):
        return _loaded(path, card, tensors, where, number, name=name, auto=auto, direction=direction, packed=packed)


def load_pipeline(
    folder: Path, *, device: str = "auto", dtype: str = "auto", texts: Sequence[str] = ()
) -> TranslationModel:
    """Load a pipeline from a folder in diffusers' layout: a prior, or a model that edits images by instructions.

    Args:
        folder: see `open_pipeline`.
        device, dtype: as of `load_file`.
        texts: what will be asked for; each is embedded here rather than when it is first used.

    Raises:
        ModelError: it is no such pipeline, or diffusers is not installed.
        UsageError: no such device or dtype, or a text is too long.
    """
    where, number = _place(device, dtype)
    known = (
        [*NO_TEXT, *dict.fromkeys(text for text in texts if text)] if card_of_pipeline(folder).text_conditional else []
    )
    with open_pipeline(folder, known or NO_TEXT) as (card, tensors):
        model = _loaded(folder, card, tensors, where, number, name=folder.name, auto=dtype == "auto")
    network = model.denoiser.network
    if known and isinstance(network, DiffusersNetwork):
        model.texts = PipelineTexts(folder, network, known)
    return model


def _place(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    where = choose_device(device)
    return where, choose_dtype(dtype, where)


def _loaded(
    path: Path,
    whole: ModelCard,
    every: Tensors,
    where: torch.device,
    number: torch.dtype,
    *,
    name: str,
    auto: bool,
    direction: str = FORWARD,
    packed: bool = True,
) -> TranslationModel:
    """As `load_file`, of an open model. auto: choose the number type by speed, where that is measured."""
    if where.type == "cpu" and weights_of(path).stat().st_size >= LARGE:
        return_large_blocks()
    _compare(whole, every, name)
    card, tensors = one_direction(whole, every, direction)
    denoiser, codec = outline(card), outline_codec(card)
    modules = modules_of(denoiser, codec)
    speed = None
    if auto and where.type == "cpu":
        speed = measure(card, denoiser.network)
        number = speed.dtype if speed else number
    for prefix, module in modules.items():
        of_codec = of_half_precision(number) if prefix == CODEC_PREFIX else number
        _fill(module, tensors, name, where, of_codec, prefix=prefix)
    set_memory_format(denoiser.network, best_memory_format(where, number))
    for each in (denoiser, codec):
        each.eval().requires_grad_(False)
        if packed and where.type == "cpu" and has_room(each):
            pack(each)
    direction, reverse = (direction if whole.directions else ""), None
    if direction:
        other = next(each for each in whole.directions if each != direction)
        how: dict[str, Any] = {"device": str(where), "dtype": short_name(number), "name": name, "packed": packed}
        reverse = cache(partial(load_file, path, direction=other, **how))
    given: dict[str, Any] = {"speed": speed, "direction": direction, "load_reverse": reverse}
    given |= {"texts": TextFeatures(card.text_encoder)} if card.text_encoder else {}
    model = TranslationModel(card, denoiser, codec, digest=digest_of(path), **given)
    try:
        usable = all(map(_is_finite, (model.plan(), *map(model.tuned_plan, card.tuned))))
    except (UsageError, ArithmeticError, RuntimeError) as error:
        reason = error.message if isinstance(error, UsageError) else " ".join(str(error).split())[:120]
        raise ModelError(f"{name}: model card: {reason[:300]}", hint=AGAIN) from None
    if not usable:
        raise ModelError(f"{name}: model card: its path or grid contains NaN or infinity", hint=AGAIN)
    return model


def _is_finite(plan: Plan) -> bool:
    """Return whether the times of a plan, and the path there, have no NaN or infinity."""
    return all(bool(each.isfinite().all()) for each in (plan.times, *plan.path.coefficients(plan.times)))


def checked_card(path: Path) -> ModelCard:
    """Return the card of a model, after comparing the network that it describes with the shapes in the file.

    So a network of this card needs no more memory than the file justifies. No weights are read from a file.

    Raises:
        ModelError: the file is damaged, or weights and card disagree.
    """
    with open_model(path) as (card, tensors):
        _compare(card, tensors, path.name)
        return card


@contextmanager
def open_model(path: Path, texts: Sequence[str] = NO_TEXT) -> Iterator[tuple[ModelCard, Tensors]]:
    """Open a model file or folder; yield its card and its tensors under our names, those of an adapter merged.

    Args:
        texts: of a text-to-image pipeline, as of `open_pipeline`.

    Raises:
        ModelError: it is missing, damaged, or has no card.
    """
    if is_pipeline_folder(path):
        with open_pipeline(path, texts) as opened:
            yield opened
        return
    if path.is_dir():
        card, weights = read_folder(path)
        if card is None:
            raise ModelError(
                f"{path}: a diffusers folder without a model card ({CARD})",
                hint=f"if it is a model of the registry: ddbm weights import {path} --like NAME",
            )
        yield card, _Loaded(weights)
        return
    with ExitStack() as held:
        file = held.enter_context(open_tensors(path))
        header = file.metadata() or {}
        card = read_card(header, file=path.name)
        base = base_of(header, file=path.name)
        if base is None:
            yield card, file
            return
        below = held.enter_context(_opened_base(find_base(base, path)))
        yield card, Merged(file, below, scale=base["scale"], wanted=set(shapes_of(card)), file=path.name)


@contextmanager
def _opened_base(path: Path) -> Iterator[Tensors]:
    """Open the tensors of what an adapter is added to."""
    if is_pipeline_folder(path):
        with open_pipeline(path) as (_, tensors):
            yield tensors
        return
    with open_tensors(path) as file:
        yield file


def weights_of(path: Path) -> Path:
    """Return the file with the weights of a model file or folder."""
    if is_pipeline_folder(path):
        return weights_of_pipeline(path)
    return path / WEIGHTS if path.is_dir() else path


def digest_of(path: Path) -> str:
    """Return the sha256 of a model file; of a folder, one of weights and card; of a pipeline, one of all weights."""
    if is_pipeline_folder(path):
        return pipeline_digest(path)
    if not path.is_dir():
        return sha256_of_file(path)
    return sha256("".join(map(sha256_of_file, (*weight_files(path), path / CARD))).encode())


class _Loaded:
    """Tensors that are in memory, with the interface of a file's."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def keys(self) -> list[str]:
        return list(self._tensors)

    def get_slice(self, name: str) -> "_Slice":
        return _Slice(self._tensors[name])

    def get_tensor(self, name: str) -> Tensor:
        return self._tensors[name]


class _Slice:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def get_shape(self) -> list[int]:
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        names = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
        return names.get(self._tensor.dtype, str(self._tensor.dtype))


def _compare(card: ModelCard, file: Tensors, name: str) -> None:
    """Raise unless the file has exactly the tensors of its card, in floating point; no data are read."""
    wanted = shapes_of(card)
    found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - not a dict
    if wanted != found:
        odd = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        raise ModelError(
            f"{name}: {len(odd)} tensors do not fit its card, first '{odd[0][:80]}'"
            f" (card {wanted.get(odd[0], 'has none')}, file {found.get(odd[0], 'has none')})",
            hint=AGAIN,
        )
    for key in found:
        number = file.get_slice(key).get_dtype()
        if number not in FLOATS:
            raise ModelError(f"{name}: '{key}' is of type {number}, not floating point", hint=AGAIN)


def _fill(
    module: torch.nn.Module, file: Tensors, name: str, device: torch.device, dtype: torch.dtype, *, prefix: str = ""
) -> None:
    """Load weights into a module on the meta device, one tensor at a time, so that there is never a second copy."""
    weights: dict[str, Tensor] = {}
    for key in module.state_dict():
        read = file.get_tensor(prefix + key)
        tensor = read.to(device, dtype)
        if not is_finite(tensor):
            raise ModelError(
                f"{name}: '{prefix}{key}' contains NaN or infinity in {short_name(dtype)}",
                hint="use --dtype fp32" if is_finite(read) else AGAIN,
            )
        # The memory layout is part of the network: images go through it with their channels last.
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        weights[key] = tensor.contiguous(memory_format=layout)
    module.load_state_dict(weights, assign=True)
