"""pix2pix's objective (arXiv:1611.07004, eq. 4): a critic that gets the source must take the output for
a real image, and the output must be close to the target.

loss = -log D(x_T, G(x_T)) + l1 |G(x_T) - x_0|,    the critic's: -(log D(x_T, x_0) + log(1 - D(x_T, G(x_T)))) / 2
"""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks import PatchGAN
from ddbm_cli.objectives.objective import Loss, Objective


@settings
class Adversarial(Objective):
    """The network is trained with a discriminator of patches, one step of each in turn (pix2pix).

    l1: weight of the L1 distance to the target. rate: learning rate of the critic's Adam, whose beta1 is 0.5.
    channels, layers: width and depth of the critic; 3 layers see patches of 70 pixels, 2 layers of 34.
    """

    name: ClassVar[str] = "pix2pix"

    l1: Annotated[float, Field(ge=0)] = 100.0
    rate: Annotated[float, Field(gt=0)] = 2e-4
    channels: Annotated[int, Field(ge=1)] = 64
    layers: Annotated[int, Field(ge=1, le=6)] = 3

    def create(self, device: torch.device) -> Loss:
        return _AdversarialLoss(self, device)


class _AdversarialLoss(Loss):
    def __init__(self, objective: Adversarial, device: torch.device) -> None:
        super().__init__()
        self._l1 = objective.l1
        self._critic = PatchGAN(channels=objective.channels, layers=objective.layers).to(device)
        self._optimizer = torch.optim.Adam(self._critic.parameters(), lr=objective.rate, betas=(0.5, 0.999))
        self.modules = {"critic": self._critic}
        self.optimizers = {"critic_optimizer": self._optimizer}

    def __call__(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        source: Tensor,
        t: Tensor,
        eps: Tensor,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        made = denoiser(denoiser.path.training_state(x0, source, eps, t), t, source, conditions)
        self._teach(source, x0, made.detach())
        self._critic.requires_grad_(False)  # its weights get no gradient from the network's loss
        looks: Tensor = F.softplus(-self._critic(source, made)).flatten(1).mean(1)
        self._critic.requires_grad_(True)
        looks += self._l1 * (made - x0).abs().flatten(1).mean(1)
        return looks

    def _teach(self, source: Tensor, real: Tensor, made: Tensor) -> None:
        loss = F.softplus(-self._critic(source, real)).mean() + F.softplus(self._critic(source, made)).mean()
        self._optimizer.zero_grad(set_to_none=True)
        (loss / 2).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
