"""An objective: the loss of a batch, and further modules that are trained for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddbm_cli.codecs import Codec, Pixels
from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers import Plan


@dataclass
class Share:
    """The rows of each batch that this process computes, `index` of `count` equal shares, in `parts` one by one.

    Random numbers of a step do not depend on the numbers of processes and parts: each part is begun with the same seed,
    draws them for the whole batch, and uses its own. part: the one that is computed.
    """

    index: int = 0
    count: int = 1
    part: int = 0
    parts: int = 1

    def rows(self, size: int) -> slice:
        """Return the rows of a batch of `size`, a multiple of `count`, that this process computes."""
        each = size // self.count
        return slice(self.index * each, (self.index + 1) * each)

    def normal(self, like: Tensor, channels: int | None = None) -> Tensor:
        """Return standard normal numbers for the rows of a part (B, C, ...), or of another number of channels."""
        size, own = self._drawn(len(like))
        shape = size, channels or like.shape[1], *like.shape[2:]
        return torch.randn(shape, dtype=like.dtype, device=like.device)[own]

    def dropout(self, x: Tensor, p: float) -> Tensor:
        """Return the rows of a part (B, ...) with dropout."""
        size, own = self._drawn(len(x))
        strides = torch.empty_like(x, device="meta").stride()  # numbers are drawn in the order of the memory
        whole = torch.empty_strided((size, *x.shape[1:]), strides, dtype=x.dtype, device=x.device)
        return x * F.dropout(whole.fill_(1), p)[own]

    def _drawn(self, rows: int) -> tuple[int, slice]:
        """Return for how many rows numbers are drawn, and which of them are the `rows` of the part."""
        first = (self.index * self.parts + self.part) * rows
        return rows * self.count * self.parts, slice(first, first + rows)


@dataclass(frozen=True)
class Context:
    """What a loss gets of its run.

    device: of the weights. codec: makes images of states, frozen. teacher: the model that is distilled, frozen; None
    where nothing is. plan: how the model is sampled by default, of which a distilled model is trained on every
    evaluation. clip: whether estimates are limited to -1..1 while sampling. states: shape (C, H, W) of the state of an
    image. adversarial: weight of the term of a critic of patches. reduce: averages tensors over the processes that
    train together, in place. share: the rows that this process computes.
    """

    device: torch.device
    codec: Codec = field(default_factory=Pixels)
    teacher: Denoiser | None = None
    plan: Plan | None = None
    clip: bool = True
    states: tuple[int, int, int] = (3, 64, 64)
    adversarial: float = 0.0
    reduce: Callable[[Sequence[Tensor]], None] = field(default_factory=lambda: _alone)
    share: Share = field(default_factory=Share)


def _alone(tensors: Sequence[Tensor]) -> None:
    """Leave the tensors of a single process as they are."""


class Loss(ABC):
    """The loss of one run. `modules` and `optimizers` belong to it and are saved with the run.

    several_processes: whether processes can train together although the loss has modules of its own. They can where it
    averages what it learns by `Context.reduce`, and draws random numbers by `Context.share`.
    divisible: whether the network may be divided among them (FSDP): the loss only calls the denoiser.
    """

    several_processes: ClassVar[bool] = False
    divisible: bool = False

    def __init__(self) -> None:
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    @abstractmethod
    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        source: Tensor,
        t: Tensor,
        eps: Tensor,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        """Return the loss of each image, (B,).

        Args:
            denoiser: what is trained.
            x0, source, eps: target, source and standard noise, (B, C, H, W).
            t: times (B,), float64.
            conditions: label and source condition of each image.
        """


@settings
class Objective(ABC):
    """Base: a subclass implements `create`."""

    name: ClassVar[str]

    @property
    def clips(self) -> bool:
        """Whether estimates are limited to -1..1 in the squared error. Latents have no such limits."""
        return False

    @abstractmethod
    def create(self, context: Context) -> Loss:
        """Return the loss of a new run."""
