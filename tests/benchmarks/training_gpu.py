"""The step of `ddbm train` on a GPU against the step of the released DDBM trainer, in one run, without downloads.

    python -m tests.benchmarks.training_gpu [--preset base-64] [--batch-size N] [--rounds 5] [--steps 20]

The released trainer (alexzhou907/DDBM, after guided-diffusion) is not part of this project; `Published` is its step as
that code describes it, in our words: weights in fp16 with a master copy in fp32, a loss that is scaled by hand, norms
and losses that are read in every step, RAdam, and an average that is updated tensor by tensor. The network, the path
and the loss are ours in both, so that only the trainers differ. `ddbm train` runs with the preset's own number type.
Blocks of steps are done in turns. Target: the published step takes at least 1.4 times ours. `--device cpu --preset
tiny` tries the program without a GPU; its figures mean nothing.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.models import assemble
from ddbm_cli.objectives import denoising_loss
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train import request, run
from ddbm_cli.tasks.train.card import card_of
from ddbm_cli.tasks.train.data import load_data
from ddbm_cli.training.batches import Batch
from tests.benchmarks.loader import write
from tests.benchmarks.training import NEVER, PAIRS, stepped

FIRST_LOG_SCALE, GROWTH = 20.0, 1e-3
"""Of the loss: the logarithm to base 2, and what a step adds to it."""


class Published:
    """The step of the released trainer.

    Args:
        denoiser: on its device; its network is converted to half precision.
        batch: one fixed batch, on the CPU in pageable memory, as its loader gives it.
        rates: decays of the averages.
    """

    def __init__(self, denoiser: Denoiser, batch: Batch, *, learning_rate: float, rates: Sequence[float]) -> None:
        self._denoiser, self._batch, self._rates = denoiser, batch, rates
        self._device = next(denoiser.parameters()).device
        parameters = list(denoiser.parameters())
        self._groups = [[each for each in parameters if (each.ndim <= 1) == flat] for flat in (True, False)]
        self._master = [nn.Parameter(self._flat(group).float()) for group in self._groups]
        denoiser.network.half() if self._device.type == "cuda" else denoiser.network.bfloat16()
        self._optimizer = torch.optim.RAdam(self._master, lr=learning_rate)
        self._averages = [[master.detach().clone() for master in self._master] for _ in rates]
        self._log_scale = FIRST_LOG_SCALE if self._device.type == "cuda" else 0.0
        self.logged: list[float] = []

    def __call__(self) -> None:
        for group in self._groups:
            for parameter in group:
                parameter.grad = None
        target, source, eps = (each.to(self._device) for each in self._columns())
        path = self._denoiser.path
        u = torch.rand(len(target), device=self._device, dtype=torch.float64)
        times = path.t_min + u * (path.t_max * (1 - 1e-4) - path.t_min)
        losses = denoising_loss(self._denoiser, target, source, times, eps)
        self.logged = [losses.mean().item(), *losses.detach().cpu().tolist(), *times.cpu().tolist()]
        (losses.mean() * 2**self._log_scale).backward()
        if self._optimize():
            for rate, average in zip(self._rates, self._averages, strict=True):
                for kept, master in zip(average, self._master, strict=True):
                    kept.mul_(rate).add_(master.detach(), alpha=1 - rate)

    def _optimize(self) -> bool:
        norm = 0.0
        for master, group in zip(self._master, self._groups, strict=True):
            master.grad = self._flat([each.grad for each in group]).float()
            norm += master.grad.norm().item() ** 2 + master.detach().norm().item() ** 2
        if norm != norm or norm == float("inf"):
            self._log_scale -= 1
            return False
        for master in self._master:
            assert master.grad is not None
            master.grad.mul_(2**-self._log_scale)
        self._optimizer.step()
        for master, group in zip(self._master, self._groups, strict=True):
            for parameter, part in zip(group, master.detach().split([each.numel() for each in group]), strict=True):
                parameter.detach().copy_(part.view_as(parameter))
        self._log_scale += GROWTH
        return True

    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._batch.target, self._batch.source, torch.randn_like(self._batch.eps)

    @staticmethod
    def _flat(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def published(asked: TrainRequest, device: str) -> Published:
    """Return the published step on the network, data and batch size of a request."""
    data = load_data(asked, exclude=())
    denoiser = assemble(card_of(data.request, data.batches, (), folder=Path("run"))).to(device).train()
    return Published(denoiser, data.batches[0], learning_rate=asked.recipe.learning_rate, rates=[0.9999])


def seconds(work: Callable[[], object], count: int, device: str) -> float:
    """Return the seconds of a call, until the device has done it."""
    began = time.perf_counter()
    for _ in range(count):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="base-64")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="a multiple of 10: losses are read every 10 steps")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        recipe = {"save_every": NEVER, "validate_every": NEVER}
        if options.batch_size:
            recipe["batch_size"] = options.batch_size
        given = {"data": [root / "pairs"], "output": root / "run", "device": options.device, "recipe": recipe}
        wanted = request(given, preset=options.preset)
        write(root / "pairs", max(PAIRS, wanted.recipe.batch_size), wanted.size)
        events = run(wanted)
        reads = 1 if options.device == "cpu" else 10  # an event covers the steps between two reads
        first = stepped(events).step

        def ours() -> None:
            for _ in range(options.steps // reads):
                stepped(events)

        theirs = published(dataclasses.replace(wanted), options.device)

        def published_steps() -> None:
            for _ in range(options.steps // reads * reads):
                theirs()

        works = {"published": published_steps, "ddbm train": ours}
        for work in works.values():
            seconds(work, 1, options.device)
        count = options.steps // reads * reads
        rounds = [
            {name: seconds(work, 1, options.device) / count for name, work in works.items()}
            for _ in range(options.rounds)
        ]
        events.close()
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(
        f"{options.preset}, batches of {wanted.recipe.batch_size}, {name}, torch {torch.__version__}, from step {first}"
    )
    for which in works:
        print(f"{which:11} {1000 * statistics.median(times[which] for times in rounds):8.1f} ms per step")
    ratio = statistics.median(times["published"] / times["ddbm train"] for times in rounds)
    print(f"the published step takes {ratio:.2f} times ours (target: 1.4)")


if __name__ == "__main__":
    main()
