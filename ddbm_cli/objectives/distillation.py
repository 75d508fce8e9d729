"""What the objectives of distillation share: the student's own trajectory, trained at one evaluation at a time.

A student is trained on the very trajectory that it is sampled with. One of its evaluations is chosen at random; those
before it are computed without derivatives, and the estimate of the chosen one is the generated image (IBMD,
arXiv:2502.01362, App. B). Evaluations before any noise is drawn are not chosen: they have one result for a source, and
their best estimate is the mean that the teacher learned. A network that gets noise as an input of its own is trained
at all of them.
"""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_CONDITIONS, Conditions, Denoiser
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.networks import PatchGAN
from ddbm_cli.objectives.adversarial import Critic
from ddbm_cli.objectives.objective import Context, Loss, Share
from ddbm_cli.samplers import Bridge, Plan, network_time, trajectory

CRITIC_CHANNELS, CRITIC_RATE = 32, 2e-4
"""Of the critic of patches."""

CRITIC_LAYERS = ((16, 2), (8, 1))
"""From which height and width of states the critic has how many layers: with two a patch is 34 wide, with one 16."""


class StudentTrajectory:
    """Generates images with a student along its plan.

    Args:
        plan: how the student is sampled.
        clip: whether estimates are limited to -1..1.
        share: the rows of a batch for which images are generated; by default all.
    """

    def __init__(self, plan: Plan, *, clip: bool, share: Share | None = None) -> None:
        self._plan = plan
        self._clip = clip
        self._share = share or Share()
        self._noisy = self._with_noise()
        self._count = plan.nfe

    def __call__(self, denoiser: Denoiser, source: Tensor, conditions: Conditions, *, derivatives: bool) -> Tensor:
        """Return generated images (B, C, H, W); with `derivatives`, those of the chosen evaluation are kept."""
        channels = getattr(denoiser, "noise_channels", 0)
        noisy = range(self._count) if channels else self._noisy
        chosen = noisy[int(torch.randint(len(noisy), ()))]
        if channels:
            conditions = replace(conditions, noise=self._share.normal(source, channels))
        bridge = Bridge(self._plan.path, source, self._share.normal)
        steps = trajectory(bridge, self._plan.sampler, self._plan.start, self._plan.times)
        query, number = next(steps), 0
        while True:
            t = network_time(self._plan.path, query.t)
            with torch.set_grad_enabled(derivatives and number == chosen):
                x0: Tensor = denoiser(query.x, t, source, conditions)
                x0 = x0.clamp(-1, 1) if self._clip else x0
            if number == chosen:
                return x0
            query, number = steps.send(x0), number + 1

    def _with_noise(self) -> list[int]:
        """Return the numbers of the evaluations after the first noise; of all where none is drawn."""
        drawn: list[Tensor] = []

        def noise(like: Tensor) -> Tensor:
            drawn.append(like)
            return torch.zeros_like(like)

        bridge = Bridge(self._plan.path, torch.zeros(1, 1, 1, 1, dtype=torch.float64), noise)
        steps = trajectory(bridge, self._plan.sampler, self._plan.start, self._plan.times)
        found: list[int] = []
        try:
            query, number = next(steps), 0
            while True:
                found += [number] if drawn else []
                query, number = steps.send(torch.zeros_like(query.x)), number + 1
        except StopIteration:
            return found or list(range(number + 1))


class Distillation(Loss):
    """Base: a subclass defines `compute`; the term of a critic of patches is added to it.

    Args:
        context: with the plan of the student.
    """

    several_processes = True

    def __init__(self, context: Context) -> None:
        super().__init__()
        assert context.plan is not None
        self.context = context
        self.path = context.plan.path
        self.generate = StudentTrajectory(context.plan, clip=context.clip, share=context.share)
        self._critic: Critic | None = None
        if context.adversarial:
            network = _critic_for(context.states).to(context.device)
            self._critic = Critic(network, rate=CRITIC_RATE, reduce=context.reduce)
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
        loss, made = self.compute(denoiser, x0, source, t, eps, conditions)
        if self._critic is None:
            return loss
        every = len(x0) // len(made)
        real, sources = x0[every - 1 :: every], source[every - 1 :: every]
        return loss + self.context.adversarial * self._critic.judge(sources, real, made)

    @abstractmethod
    def compute(
        self, denoiser: Denoiser, x0: Tensor, source: Tensor, t: Tensor, eps: Tensor, conditions: Conditions
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of each image (R,) and the images (R, C, H, W), of the last of each B / R rows."""


def _critic_for(states: tuple[int, int, int]) -> PatchGAN:
    """Return a critic of pairs of states (C, H, W).

    Raises:
        UsageError: they are smaller than a patch.
    """
    channels, height, width = states
    for least, layers in CRITIC_LAYERS:
        if min(height, width) >= least:
            return PatchGAN(channels_in=2 * channels, channels=CRITIC_CHANNELS, layers=layers)
    raise UsageError(
        f"states of {width}x{height} are too small for a critic of patches", hint="leave out --adversarial"
    )


def rows(conditions: Conditions, part: slice) -> Conditions:
    """Return the conditions of some images of a batch."""
    given = (conditions.label, conditions.use_source)
    return Conditions(*(None if each is None else each[part] for each in given))
