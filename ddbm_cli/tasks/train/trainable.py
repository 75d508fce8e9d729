"""Whether settings can be trained and sampled, found on one pixel before a run begins.

A model is trainable when the numbers of its prediction are finite at all training times, when the time embedding input
varies with the time, and when a trajectory of its default sampling stays finite.
"""

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers import PREDICTIONS, Denoiser, check_prediction
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models import ModelCard, TranslationModel
from ddbm_cli.objectives import TIME_DISTRIBUTIONS
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import Bridge, NoiseSource, finish, sample

TIMES = 64
DISTINCT = 0.25
"""Share of so many times, not counting those of the source alone, that must be different."""

LARGEST_SCALE = 1e5
"""Factor of the network's input or output in the estimate, above which float32 leaves too few of its digits."""


class _Constant(nn.Module):
    """A network of one pixel whose output does not depend on its input."""

    def __init__(self, value: float, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        return self.value.expand(len(x), self.channels, *x.shape[2:])


def can_sample(card: ModelCard) -> bool:
    """Return whether the default sampling of a card stays finite for any output of the network."""
    path, prediction = build(PATHS, card.path, what="path"), build(PREDICTIONS, card.prediction, what="prediction")
    channels = int(card.network.get("out_channels", 3))
    for value in (0.0, 1.0):
        denoiser = Denoiser(_Constant(value, channels), path, prediction, sees_source=card.concat_source)
        plan = TranslationModel(card, denoiser).plan()
        source = torch.full((1, channels, 1, 1), 0.5)
        bridge = Bridge(path, source, NoiseSource(0, ["pixel"]))
        if not finish(sample(denoiser, bridge, plan.sampler, plan.start, plan.times)).isfinite().all():
            return False
    return True


def check_trainable(card: ModelCard, *, times: str, timeless: bool = False) -> None:
    """Refuse settings that cannot be trained, or can be trained but never sampled.

    Args:
        card: the model's settings.
        times: the distribution of training times, in its shell form.
        timeless: the network does not use the time.

    Raises:
        UsageError: the settings do not fit each other.
    """
    path, prediction = build(PATHS, card.path, what="path"), build(PREDICTIONS, card.prediction, what="prediction")
    distribution = build(TIME_DISTRIBUTIONS, times, what="time distribution")
    at = distribution.times(path, (torch.arange(TIMES) + 0.5) / TIMES)
    away = int((at != path.at_source).sum())
    if len(set(at.tolist())) < min(max(2, DISTINCT * away), distribution.count or TIMES):
        raise UsageError(
            f"times '{distribution.name}' are nearly all the same on path '{path.name}'",
            hint="choose --times uniform or arcsine",
        )
    if max(float(each.abs().max()) for each in prediction.scalings(path, at)[:3]) > LARGEST_SCALE:
        raise UsageError(
            f"prediction '{prediction.name}' is not defined at the source, where --times '{times}' trains it",
            hint="choose another --prediction, or other --times",
        )
    if not timeless:
        check_prediction(path, prediction)
    if not can_sample(card):
        raise UsageError(
            f"sampling from prediction '{prediction.name}' on path '{path.name}' gives NaN or infinity",
            hint="choose --prediction preconditioned, x0 or residual, another --path, or another --sampler",
        )


def check_markov(card: ModelCard) -> None:
    """Refuse settings of a model without the source whose sampling depends on it all the same.

    Raises:
        UsageError: the prediction or the default sampling uses the source; the latter is found by `plan`.
    """
    path, prediction = build(PATHS, card.path, what="path"), build(PREDICTIONS, card.prediction, what="prediction")
    middle = torch.tensor(path.t_max / 2, dtype=torch.float64)
    if prediction.scalings(path, middle).source != 0:
        raise UsageError(
            f"prediction '{prediction.name}' uses the source, which a Markov process does not have",
            hint="choose --prediction drift, x0, residual or preconditioned",
        )
    TranslationModel(card, Denoiser(_Constant(0.0, 1), path, prediction, sees_source=False)).plan()
