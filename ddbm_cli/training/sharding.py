"""A network divided among processes: each keeps a part of every weight, gradient, moment and average.

torch's `fully_shard` (FSDP2) gathers the weights of a block while the block is computed, and leaves each process its
part of the mean gradient. So each of N processes needs 1 / N of the memory of these tensors, and the memory of
activations and of one block. The launcher's setting asks for it: `accelerate launch --use_fsdp`.

Parts are `DTensor`s, which have the shape of the whole. Files hold whole tensors: a run can be resumed by any number of
processes, divided or not. The functions leave ordinary tensors as they are.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from typing_extensions import TypeIs

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.objectives import Loss
from ddbm_cli.options.recipe import Compute, Recipe
from ddbm_cli.training.batches import Stream

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def check_launcher() -> None:
    """Check that the launcher asks for nothing that is not done.

    Raises:
        UsageError: it does.
    """
    for variable, option, hint in (
        ("FSDP_OFFLOAD_PARAMS", "--fsdp_offload_params", "leave it out, or start more processes"),
        ("FSDP_ACTIVATION_CHECKPOINTING", "--fsdp_activation_checkpointing", "use --checkpoint-activations of train"),
    ):
        if os.environ.get(variable, "").lower() == "true":
            raise UsageError(f"{option} is not supported", hint=hint)


def check_divisible(denoiser: nn.Module, batches: Stream, loss: Loss, recipe: Recipe, compute: Compute) -> None:
    """Check that a training can divide its network.

    Raises:
        UsageError: it cannot.
    """
    for what, is_asked in {
        "--task schrodinger": bool(batches.modules),
        "this objective": not loss.divisible,
        "--lora": not all(weight.requires_grad for weight in denoiser.parameters()),
        "--precision fp16": recipe.precision == "fp16",
        "--compile": compute.compile,
    }.items():
        if is_asked:
            raise UsageError(f"FSDP does not support {what}", hint="start it with accelerate launch --multi_gpu")


def divide(network: nn.Module, copies: Iterable[nn.Module], count: int) -> None:
    """Divide a network that is trained among processes, in place, and copies of it, which are not trained.

    Its `recomputable` blocks are gathered one at a time; a network without these is gathered as a whole. Copies can be
    used when they are `assembled`. Optimizers are to be made afterwards.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh(next(network.parameters()).device.type, (count,))
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # all that fully_shard takes
    for block in getattr(network, "recomputable", []):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    rows = (Shard(0),)  # as `fully_shard` does
    for each, name, weight in (found for copy in copies for found in _weights(copy)):
        part = distribute_tensor(weight.detach().contiguous(), mesh, rows, src_data_rank=None)
        _set(each, name, part, weight.requires_grad)


@contextmanager
def assembled(modules: Iterable[nn.Module], *, here: bool) -> Iterator[None]:
    """Let copies that are divided have whole weights in a context. All processes enter it.

    Args:
        here: whether the copies are used in this process; the others only give their parts.
    """
    parts = [found for module in modules for found in _weights(module) if is_divided(found[2])]
    for each, name, part in parts:
        values = whole(part.detach())
        if here:
            _set(each, name, values, part.requires_grad)
        del values
    try:
        yield
    finally:
        for each, name, part in parts:
            each._parameters[name] = part


def is_divided(tensor: Tensor) -> TypeIs["DTensor"]:
    """Return whether a tensor is a `DTensor`, whose import takes a second, which other trainings do not need."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return the whole of a divided tensor. All processes call it."""
    return tensor.full_tensor() if is_divided(tensor) else tensor


def part_of(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process keeps, which shares its memory."""
    return tensor.to_local() if is_divided(tensor) else tensor


def to_save(tensor: Tensor, *, here: bool) -> Tensor:
    """Return the whole of a divided tensor in the memory of the host, to be saved. All processes call it.

    Args:
        here: whether this process saves it; the others get their own part.
    """
    if not is_divided(tensor):
        return tensor
    values = whole(tensor)
    return values.cpu() if here else part_of(tensor)


def fill(tensor: Tensor, values: Tensor) -> None:
    """Copy the values of a whole tensor into one that may be divided."""
    if is_divided(tensor):
        from torch.distributed.tensor import distribute_tensor

        values = values.to(tensor.device).contiguous()
        values = distribute_tensor(values, tensor.device_mesh, tensor.placements, src_data_rank=None)
    tensor.copy_(values)


def _weights(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Return the parameters of a module with the modules that have them, and their names there."""
    return [
        (each, name, weight)
        for each in module.modules()
        for name, weight in each._parameters.items()
        if weight is not None
    ]


def _set(module: nn.Module, name: str, values: Tensor, requires_grad: bool) -> None:
    module._parameters[name] = nn.Parameter(values, requires_grad)
