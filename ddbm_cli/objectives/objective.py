"""An objective: the loss of a batch, and further modules that are trained for it."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings


class Loss(ABC):
    """The loss of one run. `modules` and `optimizers` belong to it and are saved with the run."""

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
    def create(self, device: torch.device) -> Loss:
        """Return the loss of a new run, on its device."""
