"""Several processes that train one model, as `torchrun` and `accelerate launch` start them.

Every process holds the whole model and its own rows of each batch; gradients are averaged (torch's
DistributedDataParallel, set up by accelerate). With FSDP the model is divided among them (see `sharding`). The main
process alone writes files and validates. A single process needs no accelerate.

The first process that fails reports why (`foundation.launched`). It then closes its connections, so that the others,
which wait for it, fail too. A process that is killed closes them as well.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from ddbm_cli.foundation import launched
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.objectives import Share
from ddbm_cli.training import sharding

T = TypeVar("T")

FSDP = "ACCELERATE_USE_FSDP"
"""Variable of accelerate's launcher that divides the model among the processes."""

REFUSED = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}
"""Variables that would divide it by what is not supported."""

WAIT = timedelta(days=1)
"""How long processes wait for the main one, which may be validating."""

LOST = ("gloo", "nccl", "connection closed", "connection reset", "connection refused", "broken pipe", "socket")
"""Words of the errors of an exchange whose other side has ended."""


@dataclass
class Processes:
    """The processes of a training; by default this one alone. A context, at whose end they are disconnected.

    Attributes:
        count: how many there are.
        rank: which of them this one is; 0 is the main process.
        divided: whether each holds a part of the model only.
    """

    count: int = 1
    rank: int = 0
    _accelerator: Any = None
    divided: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.count > 1:
            if error is not None:
                launched.is_first_to_fail()  # before the others notice
            self._accelerator.end_training()

    @property
    def is_main(self) -> bool:
        """Whether this is the main process."""
        return self.rank == 0

    @cached_property
    def share(self) -> Share:
        """The rows of each batch that this process computes, and which part of them it is at."""
        return Share(self.rank, self.count)

    def rows(self, size: int) -> slice:
        """Return this process's rows of a batch of `size` rows.

        Raises:
            UsageError: the batch cannot be divided equally.
        """
        if size % self.count:
            raise UsageError(
                f"batches of {size} cannot be divided among {self.count} processes",
                hint=f"use a multiple: --batch-size {-(-size // self.count) * self.count}",
            )
        return self.share.rows(size)

    def divide(self, network: nn.Module, copies: Iterable[nn.Module]) -> None:
        """Divide a network, and copies of it that are not trained, where each process is to hold a part."""
        if self.divided:
            sharding.divide(network, copies, self.count)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module with gradients averaged over the processes; those of a divided network are already."""
        return module if self.count == 1 or self.divided else cast(nn.Module, self._accelerator.prepare_model(module))

    def without_exchange(self, module: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which the gradients of a wrapped module are not exchanged."""
        return nullcontext() if self.count == 1 or self.divided else self._accelerator.no_sync(module)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the processes."""
        return values if self.count == 1 else cast(Tensor, self._accelerator.reduce(values, reduction="mean"))

    def average(self, values: Sequence[Tensor]) -> None:
        """Replace tensors by their means over the processes, in place."""
        if self.count == 1 or not values:
            return
        flat = self.mean(torch.cat([value.flatten() for value in values]))
        for value, mean in zip(values, torch.split(flat, [value.numel() for value in values]), strict=True):
            value.copy_(mean.view_as(value))

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        if self.count == 1:
            return flag
        return bool(self.mean(torch.tensor([float(flag)], device=self._accelerator.device)).item())

    def largest(self, number: float) -> float:
        """Return the largest number of any process."""
        if self.count == 1:
            return number
        own = torch.tensor([number], dtype=torch.float64, device=self._accelerator.device)
        return float(self._accelerator.gather(own).max())

    def from_main(self, compute: Callable[[], T]) -> T:
        """Return what the main process computes; it raises an error there alone."""
        if self.count == 1:
            return compute()
        from accelerate.utils import broadcast_object_list

        values: list[Any] = [compute() if self.is_main else None]
        return cast(T, broadcast_object_list(values)[0])

    def meet(self) -> None:
        """Wait for all processes. A launcher stops all when one ends with an error code, as after Ctrl-C."""
        self.any(False)

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that another process has ended."""
        return self.count > 1 and isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LOST)


def connected(device: torch.device) -> Processes:
    """Connect to the other processes, if a launcher started several.

    Raises:
        UsageError: accelerate is not installed, the launcher's variables are incomplete, or it would divide the model.
    """
    for variable, name in REFUSED.items():
        if _is_set(variable):
            raise UsageError(
                f"training cannot divide a model by {name}",
                hint="start it with accelerate launch --use_fsdp, or --multi_gpu",
            )
    if launched.process_count() == 1:
        return Processes()
    divided = _is_set(FSDP)
    if divided:
        sharding.check_launcher()
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError:
        raise UsageError(
            "training in several processes needs accelerate", hint="pip install 'ddbm-cli[train]'"
        ) from None
    try:
        made = Accelerator(
            cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[InitProcessGroupKwargs(timeout=WAIT)]
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"the processes cannot be connected: {str(error).splitlines()[0]}",
            hint="start them with torchrun or accelerate launch",
        ) from None
    return Processes(made.num_processes, made.process_index, made, divided)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")
