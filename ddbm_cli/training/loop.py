"""The training loop: a generator that yields what happened, and owns no files but its state.

One step draws times and noise, computes the loss of `objectives`, and updates the weights by AdamW. A step whose loss
or gradient is not finite is skipped and counted: it has no effect, in any process.

A state is written only after the loss and the gradient of a step that follows it were found finite. So a run that
diverges never replaces a state from which it can be resumed. On a GPU, losses are read every `READ_EVERY` steps only,
because reading waits for the device.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.denoisers import Conditions, Denoiser
from ddbm_cli.foundation.devices import is_finite
from ddbm_cli.foundation.events import Saved, Stepped, Validated
from ddbm_cli.objectives import Loss, TimeDistribution
from ddbm_cli.options.recipe import Compute
from ddbm_cli.options.recipe import Recipe as Recipe
from ddbm_cli.training.averages import Averages
from ddbm_cli.training.batches import Batch, Stream
from ddbm_cli.training.budget import Budget
from ddbm_cli.training.checkpoints import Checkpoints
from ddbm_cli.training.losses import Diverged, Losses
from ddbm_cli.training.optimization import Optimization
from ddbm_cli.training.pace import Pace
from ddbm_cli.training.processes import Processes
from ddbm_cli.training.sharding import check_divisible, to_save
from ddbm_cli.training.state import Facts, Modules, Optimizers, collect, load_state

READ_EVERY = 10
"""Steps between two reads of the loss on a GPU; on a CPU every step is read."""


class Interrupted(Exception):
    """A validation was given up because the run is to stop; it is repeated when the run is resumed."""


class Fit:
    """One training run.

    Args:
        denoiser: what is trained, on its device.
        batches: pairs to train on.
        time_distribution: distribution of training times.
        recipe: how to optimise.
        loss: what is minimised.
        state: the file that the run is resumed from if it exists, and written to.
        begin: a checkpoint that it is resumed from instead.
        validate: given the averages and the step, chooses one of them, and returns scores with a "loss"; lower is
            better. It may raise `Interrupted`.
        from_noise: train on sources that are noise (see `objectives.source`), not on those of the batches.
        compute: how a step is computed.
        processes: those that train together; batches are divided among them.

    Raises:
        UsageError: the batches cannot be divided, or the network or the device lacks what `compute` needs.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        batches: Stream,
        time_distribution: TimeDistribution,
        recipe: Recipe,
        *,
        loss: Loss,
        state: Path,
        begin: Path | None = None,
        validate: Callable[[Averages, int], dict[str, float]] | None = None,
        from_noise: bool = False,
        compute: Compute | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.batches = batches
        self.time_distribution = time_distribution
        self.recipe = recipe
        self.loss = loss
        self.state = state
        self.validate = validate
        self.device = next(denoiser.parameters()).device
        self.processes = processes or Processes()
        self.averages = Averages(denoiser, recipe.decays)  # copied before the denoiser is changed in place
        if self.processes.divided:
            check_divisible(denoiser, batches, loss, recipe, compute or Compute())
        self.processes.divide(denoiser.network, self.averages.modules.values())
        self.optimizer = torch.optim.AdamW(
            denoiser.parameters(),
            lr=recipe.learning_rate,
            betas=(recipe.beta1, 0.99),
            weight_decay=recipe.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.step = 0
        self.seconds = 0.0
        self.best = math.inf
        self.validated = 0
        self.notes: dict[str, Any] = {}
        self.spent = False
        """Whether the time budget ended the run."""
        self.processes_before = self.processes.count
        """How many processes wrote the state that the run is resumed from."""
        self._read_every = 1 if self.device.type == "cpu" else READ_EVERY
        self.losses = Losses(most_skipped=recipe.max_skipped)
        self.since_best = 0
        """Validations since the one with the lowest loss."""
        self._share_left = 1.0
        self.checkpoints = Checkpoints(state, keep=recipe.keep)
        self.pace = Pace(recipe.pairs_per_step)
        self.optimization = Optimization(
            denoiser,
            loss,
            self._loss_of,
            time_distribution,
            recipe,
            optimizer=self.optimizer,
            compute=compute or Compute(),
            processes=self.processes,
            from_noise=from_noise,
        )
        batches.rows = self.optimization.rows
        start = begin or state
        if start.exists():
            facts = load_state(start, *self.parts())
            self.step, self.seconds, self.best = facts["step"], facts["seconds"], facts["best"]
            self.validated = facts.get("validated", self.step)
            self.notes = facts.get("notes", {})
            self.since_best = facts.get("since_best", 0)
            self.losses.skipped = facts.get("skipped", 0)
            self.averages.chosen = min(facts.get("average", 0), len(self.averages) - 1)
            self.processes_before = facts.get("processes", 1)
            self.optimization.scaler.load_state_dict(facts.get("scaler") or self.optimization.scaler.state_dict())

    def require_room(self, others: int) -> None:
        """Check that the disk has room for a save, also of moments that do not exist yet.

        Args:
            others: bytes of the files that are written after a state.

        Raises:
            OSError: it has not.
        """
        self.checkpoints.others = others
        trained = (each for group in self.optimizer.param_groups for each in group["params"])
        moments = 0 if self.optimizer.state else 2 * sum(each.nbytes for each in trained)
        self.checkpoints.require_room(moments + sum(each.nbytes for each in collect(*self.parts()).values()))

    @property
    def averaged(self) -> Denoiser:
        """The denoiser with averaged weights."""
        return self.averages.used

    def assembled(self) -> AbstractContextManager[None]:
        """Return a context in which the main process can use the averages; all processes enter it."""
        return self.averages.assembled(here=self.processes.is_main)

    @property
    def is_stale(self) -> bool:
        """Whether the validation loss has not fallen for as many validations as the recipe allows."""
        return self.recipe.patience is not None and self.since_best >= self.recipe.patience

    @property
    def is_over(self) -> bool:
        """Whether the recipe, its time or its patience has come to its end."""
        return self.step >= self.recipe.steps or self.spent or self.is_stale

    def run(
        self, *, stop: Callable[[], bool] = lambda: False, budget: Budget | None = None
    ) -> Iterator[Stepped | Validated | Saved]:
        """Train to the end of the recipe or of the budget, whichever comes first, then validate and save.

        Args:
            stop: called between two steps; if it returns True, the state is saved and the run ends.
            budget: limits the time, the last validation and checkpoint included. At least one step is done.

        Raises:
            Diverged: the run diverged; the state on disk is kept.
            OSError: a file cannot be written.
        """
        began, first = time.monotonic() - self.seconds, self.step
        saved, postponed = self.step if self.state.exists() else -1, False
        if self._is_due(self.step) and not self._any(stop):
            yield from self._validated()  # the run was stopped before this validation was done
        for batch in self.batches.from_step(self.step):
            if budget is not None:
                self._watch(budget, is_first=self.step == first)
            ended = self.is_over
            if ended and not self._any(stop):
                yield from self._validated()
            done = ended or self._any(stop)
            due = done or postponed or (self.step > max(saved, 0) and self.step % self.recipe.save_every == 0)
            state = self._snapshot() if due and self.step != saved else None
            started = time.monotonic()
            if not done or state is not None:
                self.losses.add(self.optimization.gradient(batch, self.step))
            due_to_read = len(self.losses) and (state is not None or self._is_read())
            read = self.losses.read(self.step + 1) if due_to_read else None
            if state is not None and done:
                self._until_finite()
            postponed = state is not None and not self.losses.is_finite
            if state is not None and not postponed:
                saved = self.step
                self._save(state, budget)
            if due and not postponed:
                with self.assembled():
                    yield Saved(step=self.step, path=self.state)
            if done:
                return
            rate = self.recipe.rate(self.step, self._share_left)
            self.optimization.update(rate)
            self.averages.update(self.denoiser)
            self.step += 1
            self.seconds = time.monotonic() - began
            self.pace.stepped(time.monotonic() - started)
            if read is not None:
                loss, norm = read
                yield Stepped(
                    step=self.step,
                    total=self.pace.total(self.step, self.recipe.steps, budget),
                    loss=loss,
                    rate=rate,
                    seconds=self.seconds,
                    gradient_norm=norm,
                    skipped=self.losses.skipped,
                )
            if self._is_due(self.step):
                yield from self._validated()

    def try_step(self, batch: Batch) -> None:
        """Do a step that changes moments, and leaves the weights as they are."""
        self.optimization.gradient(batch, self.step)
        self.optimization.update(0.0)
        self.averages.update(self.denoiser)

    def _until_finite(self) -> None:
        """Compute the gradients of further steps, without effect, until one shows that the weights are good.

        Raises:
            Diverged: none of as many as may be skipped does.
        """
        step, skipped = self.step, self.losses.skipped - (not self.losses.is_finite)
        while not self.losses.is_finite:
            self.optimization.update(0.0)  # it is not finite, so that this only sets the scale of fp16
            step += 1
            self.losses.add(self.optimization.gradient(self.batches[step], step))
            self.losses.read(step + 1)
        self.losses.skipped = skipped

    def _any(self, stop: Callable[[], bool]) -> bool:
        """Return whether any process is asked to stop; several processes agree on it when they read the loss."""
        if self.processes.count == 1:
            return stop()
        return self._is_read() and self.processes.any(stop())

    def _watch(self, budget: Budget, *, is_first: bool) -> None:
        """Update what is left of the time, by the main process's clock."""
        if self.step % self._read_every and not is_first:
            return
        reserve = self.pace.reserve
        left = self.processes.from_main(lambda: (budget.training_left(reserve), budget.share_left(reserve)))
        self.spent, self._share_left = left[0] <= 0 and not is_first, left[1]

    def _is_read(self) -> bool:
        return (self.step + 1) % self._read_every == 0 or self.step + 1 >= self.recipe.steps

    def _loss_of(self, target: Tensor, source: Tensor, times: Tensor, eps: Tensor, conditions: Conditions) -> Tensor:
        return self.loss(self.denoiser, target, source, times, eps, conditions)

    def _scores(self) -> dict[str, float]:
        """Validate; return no scores where this was given up and other processes wait for them."""
        assert self.validate is not None
        try:
            return self.validate(self.averages, self.step)
        except Interrupted:
            if self.processes.count == 1:
                raise
            return {}

    def _is_due(self, step: int) -> bool:
        at_end = step > 0 and (step % self.recipe.validate_every == 0 or step == self.recipe.steps)
        return self.validated < step and at_end

    def _validated(self) -> Iterator[Validated]:
        if self.validate is None or self.validated == self.step > 0:
            return
        with self.assembled():
            yield from self._validation()

    def _validation(self) -> Iterator[Validated]:
        started = time.monotonic()
        try:
            scores = self.processes.from_main(self._scores)
        except Interrupted:
            return
        if not scores:
            return
        if not math.isfinite(scores["loss"]):
            raise Diverged(self.step, "the validation loss contains NaN or infinity")
        self.validated = self.step
        self.pace.validation = time.monotonic() - started
        best = scores["loss"] < self.best
        self.best = min(self.best, scores["loss"])
        self.since_best = 0 if best else self.since_best + 1
        yield Validated(step=self.step, scores=scores, best=best)

    def _snapshot(self) -> tuple[dict[str, Tensor], Facts]:
        """Return the state to be written; what the next loss may change in place is copied."""
        here = self.processes.is_main
        tensors = {name: to_save(tensor, here=here) for name, tensor in collect(*self.parts()).items()}
        own = collect(self.loss.modules, self.loss.optimizers)
        tensors |= {name: tensor.clone() for name, tensor in own.items()}
        if self.processes.any(not all(is_finite(each) for each in tensors.values() if each.is_floating_point())):
            raise Diverged(self.step, "the weights contain NaN or infinity")
        facts: Facts = {"step": self.step, "seconds": self.seconds, "best": self.best, "validated": self.validated}
        if self.recipe.patience:
            facts["since_best"] = self.since_best
        if scaler := self.optimization.scaler.state_dict():
            facts["scaler"] = scaler
        if self.processes.count > 1:
            facts["processes"] = self.processes.count
        if self.averages.chosen:
            facts["average"] = self.averages.chosen
        return tensors, {**facts, "notes": dict(self.notes)}

    def _save(self, state: tuple[dict[str, Tensor], Facts], budget: Budget | None) -> None:
        started = time.monotonic()
        if self.losses.skipped:
            state[1]["skipped"] = self.losses.skipped
        if budget is not None:
            state[1].setdefault("notes", {})["budget"] = {
                "seconds": budget.seconds,
                "used": budget.spent,
                "done": self.spent,
            }
        if self.processes.is_main:
            self.checkpoints.save(*state)
        self.pace.save = time.monotonic() - started

    def parts(self) -> tuple[Modules, Optimizers]:
        """Return the modules and optimizers that a resumed run needs."""
        modules = {"network": self.denoiser, **self.averages.modules, **self.loss.modules, **self.batches.modules}
        return modules, {"optimizer": self.optimizer, **self.loss.optimizers}
