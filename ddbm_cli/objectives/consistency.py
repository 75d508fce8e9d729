"""Consistency bridge distillation and training (CDBM, arXiv:2410.22637).

The student h is trained so that its estimates at two times t > r of one trajectory agree, down to the end of the path,
where h is the state itself:

    loss = w | h(x_t, t, x_T) - h_fixed(x_r, r, x_T) |^2,      h(x, t_min, x_T) = x                       (1)

Distillation takes x_r from x_t by one deterministic step of the teacher (Proposition 3.1, DBIM with eta = 0), with
t - r constant. Training needs no teacher: x_r has the same noise as x_t (Proposition 3.3), and t - r shrinks:

    r(t) = t (1 - n(t) / 2^stage),      n(t) = 1 + k sigmoid(-b t / t_max),     w = 1 / (t - r)           (2)

`stage` counts from 1 and grows by one every `every` steps. The weights of h_fixed are those of h, without derivatives.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.denoisers import Conditions, Denoiser
from ddbm_cli.foundation.settings import settings
from ddbm_cli.objectives.distillation import Distillation
from ddbm_cli.objectives.objective import Context, Loss, Objective

MOST_STAGES = 30
"""Largest `stage`; from there on t - r is below the resolution of float32."""


@settings
class ConsistencyDistillation(Objective):
    """Consistency bridge distillation.

    step: t - r as a fraction of t_max; 1/9 to 1/120 in the paper.
    """

    name: ClassVar[str] = "cbd"

    step: Annotated[float, Field(gt=0, lt=1)] = 1 / 60

    def create(self, context: Context) -> Loss:
        return _Consistency(context, step=self.step)


@settings
class ConsistencyTraining(Objective):
    """Consistency bridge training, on pairs and without a teacher's steps.

    b, k: of (2). every: steps between two halvings of t - r.
    """

    name: ClassVar[str] = "cbt"

    b: Annotated[float, Field(gt=0)] = 20.0
    k: Annotated[float, Field(ge=0)] = 8.0
    every: Annotated[int, Field(ge=1)] = 5000

    def create(self, context: Context) -> Loss:
        return _Consistency(context, shrinking=self)


class _Steps(nn.Module):
    """How many steps were taken, as a part of the run's state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.count: Tensor


class _Consistency(Distillation):
    """`step` of distillation, or `shrinking` of training."""

    def __init__(self, context: Context, *, step: float = 0.0, shrinking: ConsistencyTraining | None = None) -> None:
        super().__init__(context)
        self._step, self._shrinking = step, shrinking
        self._steps = _Steps()
        self.modules["steps"] = self._steps

    def compute(
        self, denoiser: Denoiser, x0: Tensor, source: Tensor, t: Tensor, eps: Tensor, conditions: Conditions
    ) -> tuple[Tensor, Tensor]:
        t = t.double()
        earlier = self._earlier(t)
        self._steps.count += 1
        state = self.path.training_state(x0, source, eps, t)
        seed = torch.get_rng_state()  # the same dropout in both
        made = self._consistent(denoiser, state, t, source, conditions)
        with torch.no_grad():
            if self._shrinking:
                before = self.path.training_state(x0, source, eps, earlier)
            else:
                before = self._teachers_step(state, t, earlier, source, conditions)
            torch.set_rng_state(seed)
            target = self._consistent(denoiser, before, earlier, source, conditions)
        error = (made - target).square().flatten(1).mean(1)
        return error / (t - earlier).to(error) if self._shrinking else error, made

    def _earlier(self, t: Tensor) -> Tensor:
        """Return r of each time, at least t_min."""
        if self._shrinking is None:
            return (t - self._step * self.path.t_max).clamp(min=self.path.t_min)
        stage = min(1 + int(self._steps.count) // self._shrinking.every, MOST_STAGES)
        share = (1 + self._shrinking.k * torch.sigmoid(-self._shrinking.b * t / self.path.t_max)) / 2**stage
        return torch.minimum((t * (1 - share)).clamp(min=self.path.t_min), t * (1 - 1e-6))

    def _consistent(self, denoiser: Denoiser, x: Tensor, t: Tensor, source: Tensor, conditions: Conditions) -> Tensor:
        """Return h of (1)."""
        estimate: Tensor = denoiser(x, t, source, conditions)
        return torch.where((t > self.path.t_min).view(-1, 1, 1, 1), estimate, x)

    def _teachers_step(self, x: Tensor, t: Tensor, s: Tensor, source: Tensor, conditions: Conditions) -> Tensor:
        """Return the state at s after one deterministic step of the teacher, for each image."""
        teacher = self.context.teacher
        assert teacher is not None
        estimate = teacher(x, t, source, conditions)
        estimate = estimate.clamp(-1, 1) if self.context.clip else estimate
        t, s = t.view(-1, 1, 1, 1), s.view(-1, 1, 1, 1)
        a, b, c = self.path.coefficients(s)
        eps = self.path.eps(x.double(), estimate.double(), source.double(), t)
        moved: Tensor = a * source + b * estimate + c * eps
        return moved.to(x)
