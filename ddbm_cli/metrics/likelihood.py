"""Likelihood of images under a prior, in bits per dimension (value of a pixel).

An image of 8 bits is a cell of the density, not a point: it gets uniform noise of the width of a level
(dequantisation), and -log2 of the density there, plus log2 of the number of levels in a unit, is on average not less
than the bits that the prior would need for the image.
"""

import math

import torch
from torch import Tensor

from ddbm_cli.denoisers import Denoise
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.imaging.preprocess import Preprocess, to_picture
from ddbm_cli.metrics.base import Batch, PictureMetric, signed
from ddbm_cli.paths import ProbabilityPath
from ddbm_cli.samplers import NoiseSource
from ddbm_cli.samplers.likelihood import STEPS, log_likelihood

LEVELS = 127.5
"""Levels of a pixel in a unit of -1..1."""


class Likelihood(PictureMetric):
    """Bits per dimension by a prior.

    Args:
        device, seed: of the metric.
        denoise, path: the prior; see `log_likelihood`.
        preprocess: brings images to its size, as in training.
        steps: of the ODE.
    """

    name = "bpd"
    label = "Bits per dimension"
    needs = ("prior",)
    recipe = "exact likelihood by the probability-flow ODE, Hutchinson's divergence, uniform dequantisation"
    unmeasured = "out of range"

    def __init__(
        self,
        device: torch.device,
        *,
        seed: int = 0,
        denoise: Denoise,
        path: ProbabilityPath,
        preprocess: Preprocess,
        steps: int = STEPS,
    ) -> None:
        super().__init__(device, seed=seed)
        self._denoise = denoise
        self._path = path
        self._preprocess = preprocess
        self._steps = steps
        self.recipe = f"{self.recipe}; {preprocess.words}, {steps} steps = {2 * steps} NFE"

    def __call__(self, batch: Batch) -> Tensor:
        images = [self._preprocess.forward(to_picture(each))[0] for each in signed(batch.outputs)]
        x = torch.stack(images).to(self.device)
        # Named by what they show: neither their order nor their neighbours change a figure.
        noise = NoiseSource(self.seed, [sha256(each.numpy().tobytes()) for each in images])
        x = x + (torch.special.ndtr(noise(x)) - 0.5) / LEVELS
        nats = log_likelihood(self._denoise, self._path, x, noise, steps=self._steps)
        bits: Tensor = -nats / (x[0].numel() * math.log(2)) + math.log2(LEVELS)
        return bits
