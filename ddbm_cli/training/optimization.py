"""Loss, gradient and update of one step: parts of a batch, number types, several processes, recomputed activations.

A step's gradient is the mean over its whole batch, whatever number of processes and of parts computes it.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ddbm_cli.denoisers import Conditions, Denoiser
from ddbm_cli.foundation.devices import DTYPES, seed_everywhere
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.objectives import Loss, Share, TimeDistribution, noise_source
from ddbm_cli.options.recipe import Compute, Recipe
from ddbm_cli.training.batches import Batch, generator
from ddbm_cli.training.processes import Processes
from ddbm_cli.training.sharding import whole

LossOf = Callable[[Tensor, Tensor, Tensor, Tensor, Conditions], Tensor]

FIRST_SCALE = 2.0**16
"""Of the loss in fp16: small gradients would be 0 without it. It is halved when a gradient is not finite."""


class Optimization:
    """Computes gradients and applies them.

    Args:
        denoiser: what is trained, on its device. Its blocks are changed in place to recompute activations.
        loss_of: the loss (B,) of target, source, times, eps and conditions.
        from_noise: replace the sources by noise (see `objectives.source`).
    """

    def __init__(
        self,
        denoiser: Denoiser,
        loss: Loss,
        loss_of: LossOf,
        distribution: TimeDistribution,
        recipe: Recipe,
        *,
        optimizer: torch.optim.Optimizer,
        compute: Compute,
        processes: Processes,
        from_noise: bool,
    ) -> None:
        self._denoiser, self._distribution, self._recipe = denoiser, distribution, recipe
        self._optimizer, self._compute, self._processes = optimizer, compute, processes
        self._from_noise = from_noise
        self._device = next(denoiser.parameters()).device
        self.rows = processes.rows(recipe.pairs_per_step)
        own = recipe.pairs_per_step // processes.count
        if own % compute.accumulate:
            raise UsageError(
                f"{own} pairs cannot be divided into {compute.accumulate} equal parts",
                hint="choose --batch-size as a multiple of --accumulate and the number of processes",
            )
        if loss.modules and compute.accumulate > 1:
            raise UsageError("this objective trains a second network in each step", hint="leave out --accumulate")
        if loss.modules and processes.count > 1 and not loss.several_processes:
            raise UsageError(
                "this objective trains a second network in one process only", hint="start it without a launcher"
            )
        processes.share.parts = compute.accumulate
        if processes.count * compute.accumulate > 1:
            for module in (denoiser, *loss.modules.values()):
                _share_dropout(module, processes.share)
        if compute.checkpoint_activations:
            _recompute(denoiser.network)
        if compute.compile:
            denoiser.network.compile()
        self._model = processes.wrap(_Objective(denoiser, loss_of))
        self._half = recipe.precision == "fp16"
        if self._half and self._device.type not in ("cuda", "cpu"):
            raise UsageError("--precision fp16 needs a CUDA device", hint="use --precision bf16 or fp32")
        self.scaler = torch.amp.GradScaler(self._device.type, init_scale=FIRST_SCALE, enabled=self._half)
        self._is_odd = torch.zeros((), device=self._device)

    def gradient(self, batch: Batch, step: int) -> Tensor:
        """Compute the gradient of a step; the weights stay as they are.

        Args:
            batch: this process's rows.

        Returns:
            The loss and the norm of the gradient of the whole batch: (2,), float32, on the device, the same in all
            processes. They are not read here, because reading would wait for the device.
        """
        count = self._compute.accumulate
        target, source, u, eps = batch.target, batch.source, batch.u, batch.eps
        if self._from_noise:
            size = len(target) * self._processes.count
            noise = torch.randn((size, *target.shape[1:]), generator=generator(self._recipe.seed, "source", step))
            noise = noise[self._processes.rows(size)]
            source = noise_source(self._denoiser.path, target, noise)
        times = self._distribution.times(self._denoiser.path, u) if batch.t is None else batch.t
        columns = [self._moved(tensor).chunk(count) for tensor in (target, source, times, eps)]
        conditions = [self._part(batch.conditions, part, count) for part in range(count)]
        self._denoiser.train()
        self._optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._device)
        for part, given in enumerate(zip(*columns, conditions, strict=True)):
            seed_everywhere(self._recipe.seed + step, self._device)  # dropout, and draws of the loss
            self._processes.share.part = part
            is_last = part == count - 1
            with nullcontext() if is_last else self._processes.without_exchange(self._model):
                kind = DTYPES[self._recipe.precision]
                with torch.autocast(self._device.type, kind, enabled=kind != torch.float32):
                    loss = self._model(*given).mean() / count
                self.scaler.scale(loss).backward()
            total = total + loss.detach()
        self.scaler.unscale_(self._optimizer)
        norm = whole(torch.nn.utils.clip_grad_norm_(self._denoiser.parameters(), self._recipe.clip_norm))
        values = self._processes.mean(torch.stack([total.float(), norm.float()]))
        self._is_odd = 1 - values.isfinite().all().float()
        return values

    def update(self, rate: float) -> None:
        """Apply the gradient; the weights stay as they are where the loss or the gradient is not finite."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if self._half:
            self.scaler.step(self._optimizer)
            self.scaler.update()
        elif self._optimizer.defaults.get("fused"):
            # As GradScaler does: the fused step reads it on the device, so that nothing waits for its value.
            self._optimizer.found_inf, self._optimizer.grad_scale = self._is_odd, None  # type: ignore[attr-defined]
            self._optimizer.step()
            del self._optimizer.found_inf, self._optimizer.grad_scale  # type: ignore[attr-defined]
        elif not self._is_odd.item():
            self._optimizer.step()

    def _moved(self, tensor: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _part(self, conditions: Conditions, part: int, count: int) -> Conditions:
        given = (conditions.label, conditions.use_source)
        return Conditions(*(None if each is None else self._moved(each.chunk(count)[part]) for each in given))


class _Objective(nn.Module):
    """The loss as a module, whose gradients can be averaged over processes."""

    def __init__(self, denoiser: Denoiser, loss_of: LossOf) -> None:
        super().__init__()
        self.denoiser = denoiser
        self._loss_of = loss_of

    def forward(self, target: Tensor, source: Tensor, times: Tensor, eps: Tensor, conditions: Conditions) -> Tensor:
        return self._loss_of(target, source, times, eps, conditions)


def _share_dropout(module: nn.Module, share: Share) -> None:
    """Make the dropout of a module draw the same numbers as for a whole batch in a single process."""
    for each in module.modules():
        if isinstance(each, nn.Dropout) and each.p:
            each.forward = partial(_dropout, each, share)  # type: ignore[method-assign]


def _dropout(module: nn.Dropout, share: Share, x: Tensor) -> Tensor:
    return share.dropout(x, module.p) if module.training else x


def _recompute(network: nn.Module) -> None:
    """Make the blocks of a network compute their activations a second time in the backward pass, not keep them."""
    blocks: list[nn.Module] = getattr(network, "recomputable", [])
    if not blocks:
        raise UsageError(
            "this network has no blocks whose activations can be recomputed", hint="leave out --checkpoint-activations"
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
