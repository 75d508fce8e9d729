"""The speed of `ddbm train` against a bare loop over the same network, in one run.

    python -m tests.benchmarks.training [--preset small-64] [--rounds 8] [--steps 12] [--threads N]

Blocks of steps of both are done in turns, in one process and with the same number of threads, so that what else the
machine does hits both alike. The bare loop has the network, the optimiser and the batch size of the preset, and does
nothing but loss.backward() and optimizer.step() on one fixed batch. "with average" also clips the gradient and averages
the weights, as every training of a diffusion model does. `ddbm train` decodes, keeps and augments images, draws times
and noise, checks losses, and reports every step; its saves and validations are switched off by long intervals. The
figure is the median over the rounds of the ratio of the times; target: 97 %.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.foundation.events import Stepped
from ddbm_cli.models import assemble
from ddbm_cli.objectives import denoising_loss
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train import request, run
from ddbm_cli.tasks.train.card import card_of
from ddbm_cli.tasks.train.data import load_data
from tests.benchmarks.loader import write

PAIRS = 256
NEVER = 10**9
SETTLE = 0.2
"""Seconds after a block in which `ddbm train` prepares its next batch: counted by the CPU's clock only."""


def asked(root: Path, preset: str) -> TrainRequest:
    given = {"data": [root / "pairs"], "output": root / "run", "device": "cpu"}
    return request(given | {"recipe": {"save_every": NEVER, "validate_every": NEVER}}, preset=preset)


def bare_step(asked: TrainRequest, *, average: bool) -> Callable[[], Tensor]:
    """Return a step of the bare loop to call."""
    recipe = asked.recipe
    data = load_data(asked, exclude=())
    denoiser = assemble(card_of(data.request, data.batches, (), folder=Path("run"))).train()
    parameters = list(denoiser.parameters())
    averaged = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(
        parameters, recipe.learning_rate, (recipe.beta1, 0.99), weight_decay=recipe.weight_decay, fused=True
    )
    batch = data.batches[0]
    target, source, eps = batch.target, batch.source, batch.eps
    times = denoiser.path.t_min + batch.u.double() * (denoiser.path.t_max - 2 * denoiser.path.t_min)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = denoising_loss(denoiser, target, source, times, eps).mean()
        loss.backward()
        if average:
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        optimizer.step()
        if average:
            with torch.no_grad():
                torch._foreach_lerp_(averaged, parameters, 1 - recipe.ema)
        return loss.detach()

    return step


def seconds(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Return seconds per call by the wall's and by the CPU's clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        work()
    wall = (time.perf_counter() - wall) / count
    time.sleep(SETTLE)
    return wall, (time.process_time() - cpu) / count


def stepped(events: Iterator[object]) -> Stepped:
    return next(event for event in events if isinstance(event, Stepped))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="small-64")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wanted = asked(root, options.preset)
        write(root / "pairs", PAIRS, wanted.size if isinstance(wanted.size, int) else 64)
        events = run(wanted)
        works: dict[str, Callable[[], object]] = {
            "bare loop": bare_step(wanted, average=False),
            "with average": bare_step(wanted, average=True),
            "ddbm train": lambda: stepped(events),
        }
        for work in works.values():
            seconds(work, 3)
        rounds: list[dict[str, tuple[float, float]]] = []
        for number in range(options.rounds):
            order = list(works) if number % 2 else list(works)[::-1]
            rounds.append({name: seconds(works[name], options.steps) for name in order})
        events.close()
    about = f"batches of {wanted.recipe.batch_size}, {options.threads} thread(s), torch {torch.__version__}"
    print(f"{options.preset}, {about}")
    for clock, title in enumerate(("wall", "cpu")):
        for name in works:
            values = [times[name][clock] for times in rounds]
            middle, fastest = (1000 * pick(values) for pick in (statistics.median, min))
            print(f"{title:>4}: {name:13} {middle:7.1f} ms per step, fastest {fastest:7.1f} ms")
        for name in ("bare loop", "with average"):
            ratios = sorted(times[name][clock] / times["ddbm train"][clock] for times in rounds)
            middle, spread = statistics.median(ratios), f"{ratios[0]:.1%} to {ratios[-1]:.1%}"
            print(f"{title:>4}: ddbm train reaches {middle:.1%} of {name} (rounds: {spread})")


if __name__ == "__main__":
    main()
