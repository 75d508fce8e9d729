"""Inverse bridge matching distillation (IBMD, arXiv:2502.01362), and RealUID, which adds real pairs to it.

The student G is trained so that a bridge that is fitted to its images is the teacher's (Theorem 3.4):

    min_G [ E w(t) |D*(x_t, t) - x_0|^2 - min_D E w(t) |D(x_t, t) - x_0|^2 ],   x_0 = G(x_T, z)           (1)

x_t is on the path between x_0 and x_T. D* is the teacher. D, the "fake bridge", begins with the teacher's weights and
takes `updates` steps for each step of the student. The derivative of (1) goes through x_0, x_t and both networks. Its
second term is the variance of what the student generates, which keeps its diversity.

RealUID fits D to real pairs x*_0 as well, without a critic, and replaces both errors of (1) accordingly:

    alpha E_G |D(x_t) - (beta / alpha) x_0|^2 + (1 - alpha) E |D(x*_t) - (1 - beta) / (1 - alpha) x*_0|^2  (2)

alpha = beta = 1 is (1).
"""

import copy
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.denoisers import Conditions, Denoiser
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.objectives.denoising import error_weight
from ddbm_cli.objectives.distillation import Distillation, rows
from ddbm_cli.objectives.objective import Context, Loss, Objective


@settings
class InverseBridgeMatching(Objective):
    """IBMD: needs sources only.

    updates: steps of the fake bridge for each step of the student; a batch is divided into `updates` + 1 parts.
    rate: learning rate of the fake bridge's Adam, whose betas are 0 and 0.99.
    emphasis: factor of the student's loss at the target relative to the source; 10 in the paper.
    """

    name: ClassVar[str] = "ibmd"

    updates: Annotated[int, Field(ge=1, le=100)] = 5
    rate: Annotated[float, Field(gt=0)] = 1e-4
    emphasis: Annotated[float, Field(ge=1)] = 10.0

    def create(self, context: Context) -> Loss:
        return _Matching(context, updates=self.updates, rate=self.rate, emphasis=self.emphasis)


@settings
class RealUID(InverseBridgeMatching):
    """IBMD with real pairs in the fake bridge's loss, equation (2).

    alpha, beta: of (2); the share of generated images, and of their targets, in the fake bridge's loss.
    """

    name: ClassVar[str] = "realuid"

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.94
    beta: Annotated[float, Field(gt=0, le=1)] = 0.96

    def create(self, context: Context) -> Loss:
        return _Matching(
            context,
            updates=self.updates,
            rate=self.rate,
            emphasis=self.emphasis,
            alpha=self.alpha,
            beta=self.beta,
        )


class _Matching(Distillation):
    def __init__(
        self,
        context: Context,
        *,
        updates: int,
        rate: float,
        emphasis: float,
        alpha: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        super().__init__(context)
        assert context.teacher is not None
        self._updates, self._emphasis, self._alpha, self._beta = updates, emphasis, alpha, beta
        self._teacher = context.teacher
        self._fake = copy.deepcopy(context.teacher).train()
        self._weights = list(self._fake.requires_grad_(True).parameters())
        self._optimizer = torch.optim.Adam(self._weights, lr=rate, betas=(0.0, 0.99))
        self.modules["fake"] = self._fake
        self.optimizers["fake_optimizer"] = self._optimizer

    def compute(
        self, denoiser: Denoiser, x0: Tensor, source: Tensor, t: Tensor, eps: Tensor, conditions: Conditions
    ) -> tuple[Tensor, Tensor]:
        count = self._updates + 1
        if len(x0) % count:
            multiple = count * self.context.share.count
            raise UsageError(
                f"batches of {len(x0)} cannot be divided into {count} parts, {self._updates} of the fake bridge",
                hint=f"use a multiple of {multiple}: --batch-size {-(-len(x0) // count) * multiple}; or fewer updates",
            )
        # In each part are rows of all processes.
        parts = [slice(first, None, count) for first in range(count)]
        denoiser.eval()
        for part in parts[:-1]:
            made = self.generate(denoiser, source[part], rows(conditions, part), derivatives=False)
            self._fit(made, x0[part], source[part], t[part], eps[part], rows(conditions, part))
        denoiser.train()
        last = parts[-1]
        given = (source[last], t[last], rows(conditions, last))
        made = self.generate(denoiser, given[0], given[2], derivatives=True)
        state = self.path.training_state(made, given[0], eps[last], t[last])
        self._fake.requires_grad_(False)
        wanted = self._beta / self._alpha * made
        errors = [_error(each, state, *given, wanted) for each in (self._teacher, self._fake)]
        self._fake.requires_grad_(True)
        factor = self._emphasis ** (1 - t[last] / self.path.t_max)
        return self._alpha * (factor * error_weight(self._teacher, t[last])).to(errors[0]) * (
            errors[0] - errors[1]
        ), made

    def _fit(self, made: Tensor, real: Tensor, source: Tensor, t: Tensor, eps: Tensor, conditions: Conditions) -> None:
        """Take one step of the fake bridge on generated images, and on real ones where they have a share."""
        kinds = [(self._alpha, self._beta, made), (1 - self._alpha, 1 - self._beta, real)]
        loss = torch.zeros((), device=made.device)
        for share, target, images in kinds:
            if share:
                state = self.path.training_state(images, source, eps, t)
                error = _error(self._fake, state, source, t, conditions, target / share * images)
                loss = loss + share * (error_weight(self._teacher, t).to(error) * error).mean()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.context.reduce([weight.grad for weight in self._weights if weight.grad is not None])
        self._optimizer.step()


def _error(
    denoiser: Denoiser, state: Tensor, source: Tensor, t: Tensor, conditions: Conditions, wanted: Tensor
) -> Tensor:
    """Return the squared error of the estimates of each image, (B,)."""
    error: Tensor = (denoiser(state, t, source, conditions) - wanted).square().flatten(1).mean(1)
    return error
