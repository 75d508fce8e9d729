"""All that a run needs to go on, in one file: modules, their optimisers' moments, the step.

Random state is not among it, for every step seeds its own (see `batches`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.models.checkpoint import write_tensors

HEADER_KEY = "ddbm.training"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    facts: dict[str, Any],
) -> None:
    """Write the state atomically. `facts` are plain values: the step, seconds, the best score so far."""
    tensors: dict[str, Tensor] = {}
    for part, module in modules.items():
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    for part, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{part}.{index}.{name}": moments[name] for name in MOMENTS}
    write_tensors(path, tensors, {"format": "pt", HEADER_KEY: json.dumps(facts)})


def load_state(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Fill modules and optimisers from a file, and return its facts.

    Raises:
        DdbmError: the file is damaged, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})[HEADER_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        for part, module in modules.items():
            module.load_state_dict(_part(tensors, f"{part}."))
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise DdbmError(
            f"{path}: cannot resume from it ({str(error).splitlines()[0]})",
            hint="resume with the settings that the run began with, or start anew in another folder",
        ) from None
    for part, optimizer in optimizers.items():
        _fill(optimizer, _part(tensors, f"{part}."))
    return facts


def _fill(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in moments.items():
        index, _, moment = name.partition(".")
        if tensor.ndim > 0:
            # A fused step walks weights and moments through memory side by side: they must lie there alike.
            tensor = torch.empty_like(parameters[int(index)]).copy_(tensor)
        state.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
