"""An objective: the loss of a batch, and further modules that are trained for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddbm_cli.codecs import Codec, Pixels
from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.samplers import Plan


@dataclass(frozen=True)
class Context:
    """What a loss gets of its run.

    device: of the weights. codec: makes images of states, frozen. teacher: the model that is distilled, frozen; None
    where nothing is. plan: how the model is sampled by default, of which a distilled model is trained on every
    evaluation. clip: whether estimates are limited to -1..1 while sampling. states: shape (C, H, W) of the state of an
    image. adversarial: weight of the term of a critic of patches. reduce: averages gradients over the processes that
    train together, in place.
    """

    device: torch.device
    codec: Codec = field(default_factory=Pixels)
    teacher: Denoiser | None = None
    plan: Plan | None = None
    clip: bool = True
    states: tuple[int, int, int] = (3, 64, 64)
    adversarial: float = 0.0
    reduce: Callable[[Sequence[Tensor]], None] = field(default_factory=lambda: _alone)


def _alone(gradients: Sequence[Tensor]) -> None:
    """Leave the gradients of a single process as they are."""


class Loss(ABC):
    """The loss of one run. `modules` and `optimizers` belong to it and are saved with the run.

    several_processes: whether processes can train together although the loss has modules of its own.
    """

    several_processes: ClassVar[bool] = False

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

    @abstractmethod
    def create(self, context: Context) -> Loss:
        """Return the loss of a new run."""
