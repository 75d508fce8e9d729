"""The denoising loss: the squared error of the estimated target, weighted so that all times count alike.

    loss = | D(x_t, t, x_T) - x_0 |^2 / out(t)^2,    x_t = a x_T + b x_0 + c eps     (DDBM arXiv:2309.16948, eq. 10)

1 / out^2 undoes the scale that the prediction gives to the network's output, so the network's own error is measured.
A perceptual distance of decoded images can join it, as in latent bridge matching (arXiv:2503.07535), at all times alike
or in proportion to the signal of the target in the state, b^2 / (b^2 + c^2). So can the critic of patches of pix2pix,
which gets the decoded source with each estimate, as in denoising diffusion GANs (arXiv:2112.07804).
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks import PatchGAN
from ddbm_cli.networks.perceptual import load_perceptual_distance
from ddbm_cli.objectives.adversarial import Critic
from ddbm_cli.objectives.decoded import DecodedParts
from ddbm_cli.objectives.objective import Context, Loss, Objective

CRITIC_CHANNELS = 32
"""Width of the first layer of the critic."""


def denoising_loss(
    denoiser: Denoiser,
    x0: Tensor,
    source: Tensor,
    t: Tensor,
    eps: Tensor,
    conditions: Conditions = NO_CONDITIONS,
    *,
    clip: bool = False,
) -> Tensor:
    """Return the weighted squared error of each image, (B,).

    Args:
        x0, source, eps: target, source and standard noise, (B, C, H, W).
        t: times (B,), float64.
        conditions: label and source condition of each image.
        clip: limit estimates to -1..1.
    """
    return _loss_and_estimate(denoiser, x0, source, t, eps, conditions, clip=clip)[0]


def _loss_and_estimate(
    denoiser: Denoiser,
    x0: Tensor,
    source: Tensor,
    t: Tensor,
    eps: Tensor,
    conditions: Conditions,
    *,
    clip: bool,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each image, (B,), and the estimates of x_0, (B, C, H, W), with clip limited to -1..1."""
    x_t = denoiser.path.training_state(x0, source, eps, t)
    weight, estimate = error_weight(denoiser, t), denoiser(x_t, t, source, conditions)
    estimate = estimate.clamp(-1, 1) if clip else estimate
    error = (estimate - x0).square().flatten(1).mean(1)
    return weight.to(error) * error, estimate


def signal(denoiser: Denoiser, t: Tensor) -> Tensor:
    """Return which part of the power of states at t (B,) is of the target and not of noise: (B,), float64, 0..1.

    A source that the network does not see counts as noise.
    """
    a, b, c = denoiser.path.coefficients(t.double())
    noise = c.square() if denoiser.sees_source else c.square() + a.square()
    return b.square() / (b.square() + noise).clamp(min=1e-30)


def error_weight(denoiser: Denoiser, t: Tensor) -> Tensor:
    """Return the weight (B,), float64, of the squared error of x_0 at times t (B,); see `Prediction.weight`."""
    return denoiser.prediction.weight(denoiser.path, t.double())


@settings
class Denoising(Objective):
    """The denoising loss, for bridges, priors and rectified flows.

    perceptual: weight of the perceptual distance of decoded estimates and targets, 0 for none. With it estimates are
        sharper than the mean that the squared error has as its best, which a few evaluations show.
    by_signal: at each time this distance counts in proportion to the signal of the target in the state. Where the
        state says little of the target, estimates stay the mean, which samplers of many evaluations need.
    critic: weight of a critic of patches, which is trained to tell decoded estimates from targets, 0 for none. With it
        estimates have the detail of one possible target, which a few evaluations show.
    crop: side of the part of each image that is decoded for these two, in pixels.
    rate: learning rate of the critic's Adam. layers: of the critic; 2 see patches of 34 pixels.
    clip: limit estimates to -1..1 in the squared error too, as results are. Those of white may then exceed 1, so white
        paper becomes white; otherwise it is a little grey, as the mean of possible images is. For models of pixels.
    """

    name: ClassVar[str] = "denoising"

    perceptual: Annotated[float, Field(ge=0)] = 0.0
    by_signal: bool = False
    critic: Annotated[float, Field(ge=0)] = 0.0
    crop: Annotated[int, Field(ge=32, le=4096)] = 128
    rate: Annotated[float, Field(gt=0)] = 2e-4
    layers: Annotated[int, Field(ge=1, le=3)] = 2
    clip: bool = False

    @property
    def clips(self) -> bool:
        return self.clip

    def create(self, context: Context) -> Loss:
        return _DenoisingLoss(self, context)


class _DenoisingLoss(Loss):
    several_processes = True

    def __init__(self, objective: Denoising, context: Context) -> None:
        super().__init__()
        self._own, self._parts = objective, DecodedParts(context.codec, objective.crop)
        self.divisible = not objective.critic
        if objective.perceptual:
            self._distance = load_perceptual_distance(context.device, objective=objective.name)
        if objective.critic:
            network = PatchGAN(channels=CRITIC_CHANNELS, layers=objective.layers).to(context.device)
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
        loss, estimate = _loss_and_estimate(denoiser, x0, source, t, eps, conditions, clip=self._own.clip)
        own = self._own
        if own.perceptual or own.critic:
            made, real, *origin = self._parts(estimate, x0, *((source,) if own.critic else ()))
            if own.perceptual:
                share = signal(denoiser, t).to(loss) if own.by_signal else 1.0
                loss = loss + own.perceptual * share * self._distance(made, real)
            if own.critic:
                loss = loss + own.critic * self._critic.judge(origin[0], real, made)
        return loss
