"""The state of a run, in one file: modules, the moments of their optimizers, and facts such as the step.

Random state is not part of it, because every step seeds its own (see `batches`).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired

import pydantic
import torch
from torch import Tensor, nn
from typing_extensions import TypedDict  # of typing, but pydantic requires this one before Python 3.12

from ddbm_cli.foundation.devices import is_finite
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import DdbmError, ModelError
from ddbm_cli.models.checkpoint import open_tensors, write_tensors
from ddbm_cli.training.sharding import fill

HEADER_KEY = "ddbm.training"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")

Modules = Mapping[str, nn.Module]
Optimizers = Mapping[str, torch.optim.Optimizer]


class Facts(TypedDict):
    """Plain values in a state.

    step: steps done. seconds: training time so far. best: the lowest validation loss so far.
    validated: the last step that was validated. notes: values of the task, such as its data. scaler: of the loss in
    fp16. processes: how many trained together, where there were several. since_best: validations since the lowest loss.
    skipped: steps without effect. average: index of the average that is used, of several.
    """

    step: int
    seconds: float
    best: float
    validated: NotRequired[int]
    scaler: NotRequired[dict[str, int | float]]
    processes: NotRequired[int]
    since_best: NotRequired[int]
    skipped: NotRequired[int]
    average: NotRequired[int]
    notes: NotRequired[dict[str, Any]]


def collect(modules: Modules, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return the tensors of a state by name. They share memory with the modules and optimizers."""
    tensors: dict[str, Tensor] = {}
    for part, module in modules.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    for part, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{part}.{index}.{name}": moments[name] for name in MOMENTS}
    return tensors


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Facts) -> None:
    """Write a state atomically and durably.

    Raises:
        OSError: the file cannot be written.
    """
    write_tensors(path, tensors, {"format": "pt", HEADER_KEY: json.dumps(facts)})


def read_facts(path: Path) -> Facts:
    """Return the facts of a state file, without its tensors.

    Raises:
        DdbmError: the file is damaged.
    """
    with _opened(path) as file:
        return _facts(path, file.metadata() or {})


def load_state(path: Path, modules: Modules, optimizers: Optimizers) -> Facts:
    """Fill modules and optimizers from a state file and return its facts.

    Names and shapes are compared with the modules' before any tensor is read.

    Raises:
        DdbmError: the file is damaged, belongs to another network, or contains NaN or infinity.
    """
    with _opened(path) as file:
        facts = _facts(path, file.metadata() or {})
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
        wanted = {
            f"{part}.{name}": tensor for part, module in modules.items() for name, tensor in module.state_dict().items()
        }
        moments = {part: _moments(path, shapes, part, optimizer) for part, optimizer in optimizers.items()}
        known = wanted.keys() | {name for names in moments.values() for row in names.values() for name in row.values()}
        for name in sorted(known | shapes.keys()):
            if name not in shapes or name not in known:
                raise _unfit(path, f"'{name}' is {'missing' if name not in shapes else 'unknown'}")
        for name, tensor in wanted.items():
            if shapes[name] != tuple(tensor.shape):
                raise _unfit(path, f"'{name}' is {shapes[name]}, the network has {tuple(tensor.shape)}")
        with torch.no_grad():
            for name, tensor in wanted.items():
                read = _read(path, file, name)
                if read.dtype != tensor.dtype:
                    raise _unfit(path, f"'{name}' is {read.dtype}, the network has {tensor.dtype}")
                fill(tensor, read)
        for part, optimizer in optimizers.items():
            _fill(path, file, optimizer, moments[part])
    return facts


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with open_tensors(path) as file:
            yield file
    except ModelError as error:
        raise _unfit(path, error.message.removeprefix(f"{path}: ")) from None


def _moments(
    path: Path, shapes: Mapping[str, tuple[int, ...]], part: str, optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, str]]:
    """Return the names in the file of an optimizer's moments, by parameter and moment; shapes are compared."""
    rows: dict[int, dict[str, str]] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        names = {moment: f"{part}.{index}.{moment}" for moment in MOMENTS}
        found = [shapes.get(name) for name in names.values()]
        if found == [None] * len(MOMENTS):
            continue  # a parameter without a step, as in a run that was stopped before its first
        shape = tuple(parameter.shape)
        if found != [(), shape, shape]:
            raise _unfit(path, f"'{part}.{index}' has moments of shapes {found}, the network needs {shape}")
        rows[index] = names
    return rows


@torch.no_grad()
def _fill(path: Path, file: Any, optimizer: torch.optim.Optimizer, rows: Mapping[int, Mapping[str, str]]) -> None:
    parameters = _parameters(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for index, names in rows.items():
        state[index] = {moment: _read(path, file, name) for moment, name in names.items()}
        for moment in ("exp_avg", "exp_avg_sq"):
            # A fused step walks weights and moments through memory in parallel: both must have one layout.
            like = torch.empty_like(parameters[index])
            fill(like, state[index][moment])
            state[index][moment] = like
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _read(path: Path, file: Any, name: str) -> Tensor:
    tensor: Tensor = file.get_tensor(name)
    if tensor.is_floating_point() and not is_finite(tensor):
        raise DdbmError(
            f"{path}: cannot resume from it: '{name}' contains NaN or infinity",
            hint="start a new run from its best model: ddbm train DATA --from RUN/best.safetensors -o NEW",
        )
    return tensor


def _facts(path: Path, header: Mapping[str, str]) -> Facts:
    try:
        facts = pydantic.TypeAdapter(Facts).validate_python(parse_json(header.get(HEADER_KEY, "")))
    except pydantic.ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _unfit(path, f"its fact '{place}' is not valid") from None
    except ValueError:
        raise _unfit(path, "it is not the state of a run") from None
    if not (0 <= facts["step"] < 2**40 and 0 <= facts["seconds"] < 2**40):
        raise _unfit(path, "its step or time is out of range")
    return facts


def _unfit(path: Path, reason: str) -> DdbmError:
    return DdbmError(
        f"{path}: cannot resume from it: {reason}",
        hint="resume with the settings that the run began with, or start a new run in another folder",
    )
