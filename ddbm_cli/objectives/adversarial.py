"""pix2pix's objective (arXiv:1611.07004, eq. 4): a critic that gets the source must take the output for
a real image, and the output must be close to the target.

loss = -log D(x_T, G(x_T)) + l1 |G(x_T) - x_0|,    the critic's: -(log D(x_T, x_0) + log(1 - D(x_T, G(x_T)))) / 2
"""

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks import PatchGAN
from ddbm_cli.objectives.objective import Context, Loss, Objective


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

    def create(self, context: Context) -> Loss:
        return _AdversarialLoss(self, context)


class Critic:
    """A critic of patches that is trained with its own Adam, one step for each step of the network.

    reduce: averages gradients over the processes that train together, in place.
    """

    def __init__(self, network: PatchGAN, *, rate: float, reduce: Callable[[Sequence[Tensor]], None]) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))
        self._reduce = reduce

    def join(self, loss: Loss) -> None:
        """Make network and optimizer a part of the loss, which are saved with its run."""
        loss.modules["critic"] = self.network
        loss.optimizers["critic_optimizer"] = self.optimizer

    def judge(self, source: Tensor, real: Tensor, made: Tensor) -> Tensor:
        """Train the critic by one step; return what the network then minimises, (B,)."""
        self.teach(source, real, made)
        return self.loss(source, made)

    def teach(self, source: Tensor, real: Tensor, made: Tensor) -> None:
        """Train the critic by one step on real and made images (B, C, H, W) of the same sources."""
        loss = F.softplus(-self.network(source, real)).mean() + F.softplus(self.network(source, made.detach())).mean()
        self.optimizer.zero_grad(set_to_none=True)
        (loss / 2).backward()  # type: ignore[no-untyped-call]
        self._reduce([each.grad for each in self.network.parameters() if each.grad is not None])
        self.optimizer.step()

    def loss(self, source: Tensor, made: Tensor) -> Tensor:
        """Return what the network minimises to be taken for real, (B,); the critic's weights get no gradient."""
        self.network.requires_grad_(False)
        looks: Tensor = F.softplus(-self.network(source, made)).flatten(1).mean(1)
        self.network.requires_grad_(True)
        return looks


class _AdversarialLoss(Loss):
    several_processes = True

    def __init__(self, objective: Adversarial, context: Context) -> None:
        super().__init__()
        self._l1 = objective.l1
        network = PatchGAN(channels=objective.channels, layers=objective.layers).to(context.device)
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
        made = denoiser(denoiser.path.training_state(x0, source, eps, t), t, source, conditions)
        looks = self._critic.judge(source, x0, made)
        looks += self._l1 * (made - x0).abs().flatten(1).mean(1)
        return looks
