"""The training loop: a generator that yields what happened, and owns no files but its state.

One step draws times and noise, takes the loss of `objectives`, and moves the weights by AdamW; an exponential average
of the weights is what samples and what is shipped (EDM, arXiv:2206.00364, App. F).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.events import Saved, Stepped, Validated
from ddbm_cli.objectives import Loss, TimeDistribution
from ddbm_cli.options.train import Recipe as Recipe
from ddbm_cli.training.batches import Batch, Batches
from ddbm_cli.training.state import load_state, save_state


class Fit:
    """One training run.

    Args:
        denoiser: what is trained, on its device.
        batches: pairs to train on.
        law: which times are looked at.
        recipe: how to optimise.
        loss: what is minimised.
        state: the file that resumes the run; if it exists, the run goes on from it.
        validate: given the averaged denoiser and the step, returns scores; the lower "loss" among them, the better.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        batches: Batches,
        law: TimeDistribution,
        recipe: Recipe,
        *,
        loss: Loss,
        state: Path,
        validate: Callable[[Denoiser, int], dict[str, float]] | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.batches = batches
        self.law = law
        self.recipe = recipe
        self.loss = loss
        self.state = state
        self.validate = validate
        self.device = next(denoiser.parameters()).device
        self.optimizer = torch.optim.AdamW(
            denoiser.parameters(),
            lr=recipe.learning_rate,
            betas=(recipe.momentum, 0.99),
            weight_decay=recipe.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.average = AveragedModel(denoiser, multi_avg_fn=self._average)
        self.step = 0
        self.seconds = 0.0
        self.best = float("inf")
        if state.exists():
            facts = load_state(state, *self._kept())
            self.step, self.seconds, self.best = facts["step"], facts["seconds"], facts["best"]

    @property
    def averaged(self) -> Denoiser:
        """The denoiser with averaged weights: what samples well."""
        return cast(Denoiser, self.average.module).eval()

    def run(self, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Stepped | Validated | Saved]:
        """Train to the end of the recipe, or until `stop` says so between two steps; the state is saved then.

        Raises:
            DdbmError: the loss is no longer a number.
        """
        began = time.monotonic() - self.seconds
        saved = self.step
        for batch in self.batches.from_step(self.step):
            done = self.step >= self.recipe.steps or stop()
            if done or (self.step > saved and self.step % self.recipe.save_every == 0):
                saved = self.step
                save_state(self.state, *self._kept(), self._facts())
                yield Saved(step=self.step, path=self.state)
            if done:
                return
            rate = self.recipe.rate(self.step)
            loss = self._step(batch, rate)
            self.step += 1
            self.seconds = time.monotonic() - began
            yield Stepped(step=self.step, total=self.recipe.steps, loss=loss, rate=rate, seconds=self.seconds)
            if self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps:
                yield from self._validated()

    def _step(self, batch: Batch, rate: float) -> float:
        torch.manual_seed(self.recipe.seed + self.step)  # dropout
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        target, source, eps = (tensor.to(self.device) for tensor in (batch.target, batch.source, batch.eps))
        times = self.law.times(self.denoiser.path, batch.u).to(self.device)
        self.denoiser.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            loss = self.loss(self.denoiser, target, source, times, eps, batch.conditions.to(self.device)).mean()
        value = float(loss.detach())
        if value != value:
            raise DdbmError(
                f"the loss is not a number at step {self.step + 1}",
                hint="start anew with a lower --learning-rate, or with --precision fp32",
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.average.update_parameters(self.denoiser)
        return value

    def _validated(self) -> Iterator[Validated]:
        if self.validate is None:
            return
        scores = self.validate(self.averaged, self.step)
        best = scores["loss"] < self.best
        self.best = min(self.best, scores["loss"])
        yield Validated(step=self.step, scores=scores, best=best)

    def _kept(self) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
        """Return modules and optimisers that a resumed run needs."""
        modules = {"network": self.denoiser, "average": self.average, **self.loss.modules}
        return modules, {"optimizer": self.optimizer, **self.loss.optimizers}

    def _facts(self) -> dict[str, Any]:
        return {"step": self.step, "seconds": self.seconds, "best": self.best}

    @torch.no_grad()
    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        decay = min(self.recipe.ema, (1 + int(updates)) / (10 + int(updates)))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)
