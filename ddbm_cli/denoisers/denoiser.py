"""A denoiser: network + path + prediction, called as (x_t, t, x_T) -> estimate of x_0."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers.conditions import NO_CONDITIONS, Conditions
from ddbm_cli.denoisers.prediction import Prediction
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.paths.per_time import PerTime

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t (B, C, H, W), t 0-d or (B,) float64, x_T (B, C, H, W)) -> x_0 (B, C, H, W). All that samplers use of a model."""


class Denoiser(nn.Module):
    """Estimates the target from a state of the path.

    Args:
        network: F(input (B, C_in, H, W), time (B,)) -> (B, C, H, W). Its input is in_ x_t + shift x_T, and x_T after
            it on the channels where `sees_source`. One time, (1,), holds for the whole batch. A network with classes
            takes labels (B,) as a third argument.
        path, prediction: the meaning of x_t and of F.
        sees_source: whether the source is an input of the network; False for priors.
        noise_channels: number of channels of noise that the network gets besides; see `Conditions`.
    """

    def __init__(
        self,
        network: nn.Module,
        path: ProbabilityPath,
        prediction: Prediction,
        *,
        sees_source: bool = True,
        noise_channels: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.path = path
        self.prediction = prediction
        self.sees_source = sees_source
        self._kept = PerTime()
        self.noise_channels = noise_channels

    def forward(self, x: Tensor, t: Tensor, source: Tensor, conditions: Conditions = NO_CONDITIONS) -> Tensor:
        """Return x_0 (B, C, H, W) in the dtype of x; the network computes in the dtype of its weights."""
        numbers = self._numbers(x, t)
        skip, across, out, in_, shift = numbers.weights
        inputs = in_ * x + shift * source if numbers.shifts else in_ * x
        if self.sees_source:
            inputs = torch.cat([inputs, conditions.source_input(source)], dim=1)
        if self.noise_channels:
            noise = conditions.noise
            noise = x.new_zeros(len(x), self.noise_channels, *x.shape[2:]) if noise is None else noise.to(x)
            inputs = torch.cat([inputs, noise], dim=1)
        weight = next(self.network.parameters())
        labels = () if conditions.label is None else (conditions.label,)
        output = self.network(inputs.to(weight.dtype), numbers.time, *labels).to(x.dtype)
        x0: Tensor = skip * x + out * output
        return x0 + across * source if numbers.uses_source else x0

    def _numbers(self, x: Tensor, t: Tensor) -> "_Numbers":
        """Return the scalings at t for a state like x; those of one time for the whole batch are kept for the next."""
        return self._kept(t, lambda: self._computed(x, t), x.dtype, x.device)

    def _computed(self, x: Tensor, t: Tensor) -> "_Numbers":
        # One time for the whole batch is embedded once, with the same bits for every batch size.
        times = t.double().reshape(-1)
        scalings, shift = self.prediction.scalings(self.path, times), self.prediction.shift(self.path, times)
        # On a GPU, reading them would wait for the device.
        uses_source, shifts = (each.device.type != "cpu" or bool(each.any()) for each in (scalings.source, shift))
        weights = tuple(number.view(-1, 1, 1, 1).to(x) for number in (*scalings[:4], shift))
        return _Numbers(weights, scalings.time.to(x.device, torch.float32), uses_source, shifts)


class _Numbers(NamedTuple):
    """Scalings of a batch: skip, source, out, in_, shift (1 or B, 1, 1, 1) like the state, time (1 or B,) float32.

    uses_source, shifts: whether source and shift may be other than 0.
    """

    weights: tuple[Tensor, ...]
    time: Tensor
    uses_source: bool
    shifts: bool


def kept(denoise: Denoise, mask: Tensor) -> Denoise:
    """Wrap a denoiser so that where `mask` (B, 1, H, W) is 0 its estimates are the source."""
    return lambda x, t, source: torch.where(mask > 0, denoise(x, t, source), source)


def clipped(denoise: Denoise) -> Denoise:
    """Wrap a denoiser so that its estimates stay in the range of images, -1..1."""
    return lambda x, t, source: denoise(x, t, source).clamp(-1, 1)
