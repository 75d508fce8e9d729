"""Exponential moving averages of the weights, one for each decay, and the choice among them.

The average is what samples and what is written as the model (EDM, arXiv:2206.00364, App. F). Which decay is best
depends on the length of the run; with several, each is validated, and the one with the lowest validation loss is used.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.training.sharding import assembled, part_of

NAME = "average"


class Averages:
    """Averages of a denoiser.

    Args:
        denoiser: what is averaged.
        decays: per step, 0 to below 1, one for each average; a decay is smaller early in the run.
    """

    def __init__(self, denoiser: Denoiser, decays: Sequence[float]) -> None:
        self.decays = tuple(decays)
        self._models = [AveragedModel(denoiser, multi_avg_fn=partial(_average, decay)) for decay in decays]
        for model in self._models:
            _share_frozen(model.module, denoiser)
        self.chosen = 0
        """Index of the average that is used: the first, until a validation finds another one better."""

    @property
    def decay(self) -> float:
        """The decay of the average that is used."""
        return self.decays[self.chosen]

    @property
    def used(self) -> Denoiser:
        """The denoiser with the average that is used."""
        return self[self.chosen]

    def __getitem__(self, index: int) -> Denoiser:
        """Return the denoiser with one of the averages, for evaluation."""
        return cast(Denoiser, self._models[index].module).eval()

    def __len__(self) -> int:
        return len(self.decays)

    def update(self, denoiser: Denoiser) -> None:
        """Take the weights after a step into all averages."""
        for model in self._models:
            model.update_parameters(denoiser)

    def assembled(self, *, here: bool) -> AbstractContextManager[None]:
        """Return a context in which the averages can be used where they are divided; all processes enter it.

        Args:
            here: whether this process uses them.
        """
        return assembled(self._models, here=here)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All averages by their names in a state: "average", "average_2", ..."""
        return {NAME + (f"_{number}" if number > 1 else ""): each for number, each in enumerate(self._models, start=1)}


def _share_frozen(averaged: nn.Module, denoiser: nn.Module) -> None:
    """Give weights that are not trained one place in memory: they are their own average."""
    for own, given in zip(averaged.parameters(), denoiser.parameters(), strict=True):
        if not given.requires_grad:
            own.data = given.data


@torch.no_grad()
def _average(decay: float, averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
    decay = min(decay, (1 + int(updates)) / (10 + int(updates)))
    both = ((part_of(own), part_of(given)) for own, given in zip(averaged, current, strict=True))
    pairs = [(own, given) for own, given in both if own.data_ptr() != given.data_ptr()]
    torch._foreach_lerp_([own for own, _ in pairs], [given for _, given in pairs], 1 - decay)
