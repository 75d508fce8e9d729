"""LoRA adapters (arXiv:2106.09685) as files, and merged into the weights of their base.

    W' = W + scale B A                                                     (1)

A (rank, in, ...) and B (out, rank, 1, ...) are of a linear layer or a convolution. An adapter file is a model file: it
has the whole card, but of the tensors only A and B, and those that were trained as a whole. The base is named in its
header by reference and digest, and its weights are merged while the file is read. So an adapter can be passed wherever
a model can.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic
from torch import Tensor
from typing_extensions import TypedDict  # of typing, but pydantic requires this one before Python 3.12

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.models.card import AGAIN, ModelCard
from ddbm_cli.models.checkpoint import write_tensors
from ddbm_cli.models.pipeline import pipeline_digest
from ddbm_cli.registry import locate as registry
from ddbm_cli.registry.pipelines import is_pipeline, is_pipeline_folder, locating_pipeline

ADAPTER_KEY = "ddbm.adapter"
A, B = ".lora_A.weight", ".lora_B.weight"
"""How the names of A and B end, after the name of the layer."""


class Base(TypedDict):
    """What an adapter is added to: a model by reference and digest. scale: of (1)."""

    base: str
    sha256: str
    scale: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Adapter:
    """The trained part of a network.

    tensors: A and B by the names of their layers with the endings, and whole tensors by their own names; float32.
    scale: of (1).
    """

    tensors: Mapping[str, Tensor]
    scale: float


def merged(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return (1) in float32: weight (out, in, ...), a (rank, in, ...), b (out, rank, 1, ...)."""
    product = b.float().flatten(1) @ a.float().flatten(1)
    return weight.float() + scale * product.reshape(weight.shape)


def write_adapter(path: Path, card: ModelCard, adapter: Adapter, base: Base) -> None:
    """Write an adapter as a model file, atomically."""
    write_tensors(path, adapter.tensors, {**card.header(), ADAPTER_KEY: json.dumps(base, sort_keys=True)})


def base_of(header: Mapping[str, str], *, file: str) -> Base | None:
    """Return what the adapter in a file is added to, None for a file that is none.

    Raises:
        ModelError: the header is damaged.
    """
    if ADAPTER_KEY not in header:
        return None
    try:
        return pydantic.TypeAdapter(Base).validate_python(parse_json(header[ADAPTER_KEY]))
    except (ValueError, pydantic.ValidationError):
        raise ModelError(f"{file}: its facts about the adapter are damaged", hint=AGAIN) from None


def find_base(base: Base, adapter: Path) -> Path:
    """Return the file or pipeline of an adapter's base: the reference, or a file of that name next to the adapter.

    Raises:
        ModelError: it is not there, or is another file than the adapter was trained with.
    """
    name = base["base"]
    beside = adapter.parent / Path(name).name
    try:
        if beside.is_file():
            found = beside
        elif is_pipeline(name):
            found = registry.finish(locating_pipeline(name, fetch=False))
        else:
            found = registry.finish(registry.locating(name, convert=None))
    except (ModelError, UsageError):
        raise ModelError(
            f"{adapter.name}: the model that it adapts, '{base['base'][:200]}', is not there",
            hint=f"download it (ddbm weights pull), or put {beside.name} next to the adapter",
        ) from None
    digest = pipeline_digest(found) if is_pipeline_folder(found) else sha256_of_file(found) if found.is_file() else ""
    if digest != base["sha256"]:
        raise ModelError(
            f"{adapter.name}: {found} is not the model that the adapter was trained with (another sha256)",
            hint="put the original file next to the adapter",
        )
    return found


class Merged:
    """The tensors of a model whose adapter and base are open files, with the interface of a file's.

    Args:
        adapter, base: open files.
        wanted: names of the tensors that the model's card describes; others of the base are left out.
        file: the adapter's name in errors.

    Raises:
        ModelError: shapes of the adapter do not fit each other or the base.
    """

    def __init__(self, adapter: Any, base: Any, *, scale: float, wanted: set[str], file: str) -> None:
        self._adapter, self._base, self._scale = adapter, base, scale
        own, below = set(adapter.keys()), set(base.keys())
        self._layers = {name.removesuffix(A) for name in own if name.endswith(A)}
        self._whole = {name for name in own if not name.endswith((A, B))}
        self._names = [*sorted(self._whole), *sorted((below & wanted) - self._whole)]
        for layer in {name.removesuffix(A).removesuffix(B) for name in own - self._whole}:
            shapes = [self._shape(adapter, own, layer + end) for end in (A, B)]
            weight = self._shape(base, below, f"{layer}.weight")
            a, b = shapes
            fits = a and b and weight and a[1:] == weight[1:] and b[0] == weight[0] and b[1] == a[0]
            if not fits or set(b[2:]) - {1} or len(a) != len(weight):
                raise ModelError(
                    f"{file}: the adapter of layer '{layer[:80]}' does not fit the model that it adapts", hint=AGAIN
                )

    def keys(self) -> list[str]:
        """Return the names of the model's tensors."""
        return self._names

    def get_slice(self, name: str) -> Any:
        """Return what has shape and type of a tensor."""
        return (self._adapter if name in self._whole else self._base).get_slice(name)

    def get_tensor(self, name: str) -> Tensor:
        """Return a tensor, merged where the adapter has a part of it."""
        if name in self._whole:
            return self._read(self._adapter, name)
        layer = name.removesuffix(".weight")
        weight = self._read(self._base, name)
        if name == layer or layer not in self._layers:
            return weight
        return merged(weight, self._read(self._adapter, layer + A), self._read(self._adapter, layer + B), self._scale)

    @staticmethod
    def _shape(file: Any, names: set[str], name: str) -> tuple[int, ...]:
        return tuple(file.get_slice(name).get_shape()) if name in names else ()

    @staticmethod
    def _read(file: Any, name: str) -> Tensor:
        tensor: Tensor = file.get_tensor(name)
        return tensor
