"""The loss of autoencoders: what comes back must look like what went in, and its latents must be easy to model.

    loss = |D(E(x)) - x| + w_p perceptual(D(E(x)), x) + w_e |D(s E(x)) - s x| + w_c critic

|.| is the mean absolute difference; s reduces images and latents alike by 2 or 4, so that latents keep the coarse
shapes of images in their coarse frequencies, which a small bridge models best (EQ-VAE, arXiv:2502.09509). The critic is
that of pix2pix, of images alone, and joins after `critic_after` steps.
"""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks import Autoencoder, PatchGAN
from ddbm_cli.networks.perceptual import load_perceptual_distance
from ddbm_cli.objectives.adversarial import Critic
from ddbm_cli.objectives.objective import Context, Loss, Objective
from ddbm_cli.objectives.parts import random_part

MOMENTUM = 0.02
"""Weight of a step in the running moments of the latents."""

MOST_CHANNELS = 64
"""Channels of latents, at most."""

LEAST_REDUCED = 4
"""Positions of the smallest latents that are reduced for the second term, along each side."""


@settings
class Reconstruction(Objective):
    """What an autoencoder is trained with.

    perceptual, critic, equivariance: weights of the three further terms, 0 for none.
    crop: side of the part of each image that a step trains on, in pixels, at a random place; 0 for whole images. What
        is coded depends on its neighbourhood alone, so parts teach as much for less.
    perceptual_crop: side of the part of that which the perceptual distance compares, in pixels; 0 for all of it.
    perceptual_after: steps before the perceptual distance joins.
    critic_after: steps before the critic joins. rate: learning rate of its Adam. layers: of the critic.
    """

    name: ClassVar[str] = "reconstruction"

    perceptual: Annotated[float, Field(ge=0)] = 1.0
    equivariance: Annotated[float, Field(ge=0)] = 0.25
    critic: Annotated[float, Field(ge=0)] = 0.0
    crop: Annotated[int, Field(ge=0, le=4096)] = 0
    perceptual_crop: Annotated[int, Field(ge=0, le=4096)] = 0
    perceptual_after: Annotated[int, Field(ge=0)] = 0
    critic_after: Annotated[int, Field(ge=0)] = 2000
    rate: Annotated[float, Field(gt=0)] = 2e-4
    layers: Annotated[int, Field(ge=1, le=6)] = 2

    def create(self, context: Context) -> Loss:
        return _ReconstructionLoss(self, context)


class _ReconstructionLoss(Loss):
    several_processes = True

    def __init__(self, objective: Reconstruction, context: Context) -> None:
        super().__init__()
        self._own = objective
        self._moments = _Moments(context).to(context.device)
        self.modules = {"moments": self._moments}
        self._distance = load_perceptual_distance(context.device) if objective.perceptual else None
        if objective.critic:
            network = PatchGAN(channels_in=3, channels=32, layers=objective.layers).to(context.device)
            self._critic = Critic(network, rate=objective.rate, reduce=context.reduce)
            self._critic.join(self)

    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        source: Tensor,
        t: Tensor,
        eps: Tensor,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        network = denoiser.network
        if not isinstance(network, Autoencoder):
            raise UsageError("objective 'reconstruction' is for autoencoders", hint="pass --task autoencoder")
        if network.training:
            if int(self._moments.steps) == 0:
                network.begin(x0)
            source = x0 = x0[random_part(x0.shape[-2:], self._own.crop, multiple=network.size_multiple)]
            self._moments.give(network)  # of the steps before, which a saved state holds
        raw = network.raw(source)
        made = network.open(raw).float()
        loss = _l1(made, x0)
        if self._distance is not None and int(self._moments.steps) >= self._own.perceptual_after:
            part = random_part(x0.shape[-2:], self._own.perceptual_crop) if network.training else ...
            pair = torch.stack([made, x0])[part]
            loss = loss + self._own.perceptual * self._distance(pair[0], pair[1])
        if self._own.equivariance and min(raw.shape[-2:]) >= 2 * LEAST_REDUCED:
            side = 4 if float(torch.rand(())) < 0.5 and min(raw.shape[-2:]) >= 4 * LEAST_REDUCED else 2
            reduced = network.open(F.avg_pool2d(raw, side)).float()
            loss = loss + self._own.equivariance * _l1(reduced, F.avg_pool2d(x0, side))
        if self._own.critic:
            loss = loss + self._judged(x0, made)
        if network.training:
            self._moments.add(raw.detach())
        return loss

    def _judged(self, real: Tensor, made: Tensor) -> Tensor:
        """Train the critic by one step, and return what it says of the images, (B,); 0 before it joins."""
        if int(self._moments.steps) < self._own.critic_after:
            return made.new_zeros(len(made))
        alone = real[:, :0]  # the critic gets no source
        return self._own.critic * self._critic.judge(alone, real, made)


def _l1(made: Tensor, wanted: Tensor) -> Tensor:
    return (made - wanted).abs().flatten(1).mean(1)


class _Moments(nn.Module):
    """Running mean and standard deviation of each channel of raw latents."""

    mean: Tensor
    deviation: Tensor
    steps: Tensor

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.zeros(MOST_CHANNELS))
        self.register_buffer("steps", torch.zeros(()))

    @torch.no_grad()
    def give(self, network: Autoencoder) -> None:
        """Set the network's shift and scale; they do not change its images."""
        if self.steps > 0:
            network.calibrate(self.mean[: network.channels], self.deviation[: network.channels])

    @torch.no_grad()
    def add(self, raw: Tensor) -> None:
        """Add the moments of latents (B, C, h, w), and of those of the other processes."""
        raw = raw.float().transpose(0, 1).flatten(1)
        mean = raw.mean(1)
        self._context.reduce([mean])
        variance = (raw - mean[:, None]).square().mean(1)
        self._context.reduce([variance])
        count = raw.shape[1] * self._context.share.count
        weight = torch.clamp(1 / (self.steps + 1), min=MOMENTUM)
        self.mean[: len(raw)].lerp_(mean, weight)
        self.deviation[: len(raw)].lerp_((variance * count / (count - 1)).sqrt(), weight)
        self.steps += 1
