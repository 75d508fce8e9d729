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
from ddbm_cli.samplers import Bridge, NoiseSource, Plan, finish, sample
from ddbm_cli.samplers.base import Interval, Trajectory

TIMES = 64
SOURCE_SHARE = 0.01
"""Weight of the source in a step from t_max / 2 to t_max / 4 below which the step does not depend on it; I2SB's table,
which counts the variance of a row twice, has 0.0002, and a step that redraws no noise 0.03 or more."""

LEAST_DISTINCT = TIMES // 4
"""Number of different values that the time embedding input must have at so many times."""


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


def _distinct(values: Tensor) -> int:
    return len(set(values.tolist()))


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
    if _distinct(at) < LEAST_DISTINCT:
        raise UsageError(
            f"times '{distribution.name}' are nearly all the same on path '{path.name}'",
            hint="choose --times uniform or arcsine",
        )
    if not timeless:
        check_prediction(path, prediction)
    if not can_sample(card):
        raise UsageError(
            f"sampling from prediction '{prediction.name}' on path '{path.name}' gives NaN or infinity",
            hint="choose --prediction preconditioned, x0 or residual, another --path, or another --sampler",
        )


def is_markov(plan: Plan) -> bool:
    """Return whether the steps of a plan depend on the state alone, and not on the source, up to a table's rounding."""
    middle = torch.tensor(plan.path.t_max / 2, dtype=torch.float64)
    interval = Interval(middle, middle / 2, last=False)
    ends = []
    for value in (0.0, 1.0):
        bridge = Bridge(plan.path, torch.full((1, 1, 1, 1), value, dtype=torch.float64), torch.zeros_like)
        state = torch.full_like(bridge.source, 0.3)
        ends.append(_end(plan.sampler.step(bridge, state, interval, [])))
    first, second = ends
    return bool((first - second).abs() < SOURCE_SHARE)


def _end(steps: Trajectory) -> Tensor:
    """Return the end of a step whose every estimate is the same."""
    try:
        query = next(steps)
        while True:
            query = steps.send(torch.full_like(query.x, 0.1))
    except StopIteration as stop:
        end: Tensor = stop.value
        return end


def check_markov(card: ModelCard) -> None:
    """Refuse settings of a model without the source whose sampling depends on it all the same.

    Raises:
        UsageError: the prediction or the default sampling uses the source.
    """
    path, prediction = build(PATHS, card.path, what="path"), build(PREDICTIONS, card.prediction, what="prediction")
    middle = torch.tensor(path.t_max / 2, dtype=torch.float64)
    if prediction.scalings(path, middle).source != 0:
        raise UsageError(
            f"prediction '{prediction.name}' uses the source, which a Markov process does not have",
            hint="choose --prediction drift, x0, residual or preconditioned",
        )
    plan = TranslationModel(card, Denoiser(_Constant(0.0, 1), path, prediction, sees_source=False)).plan()
    if not is_markov(plan):
        raise UsageError(
            f"sampler '{plan.sampler.name}' as it is set uses the source, which a Markov process does not have",
            hint="choose --sampler implicit:eta=1 or euler-maruyama",
        )
