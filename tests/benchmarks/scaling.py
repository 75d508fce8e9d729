"""What training a preset costs, computed: operations, gradient bytes, time on GPUs, and the use of more processes.

    python -m tests.benchmarks.scaling

Nothing is trained. The operations of a network are counted by torch (multiply and add are two). A step costs three
forward passes per image, four where activations are recomputed. The rate of a GPU is that of a published training of
the same family of networks, `PUBLISHED`; it is assumed to hold for the other presets at the same image size. The
exchange of gradients of N processes takes 2 (N - 1) / N times their bytes over the bandwidth of a link (ring
all-reduce; the factor of the bus bandwidth in nccl-tests). It overlaps the backward pass, two thirds of a step.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ddbm_cli.foundation.settings import build
from ddbm_cli.networks import NETWORKS
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train import request

PRESETS = ("small-64", "base-64", "ddbm-e2h", "base-256", "ddbm-diode")
LINKS = {"NVLink, H100 (450 GB/s)": 450e9, "PCIe 4.0 x16 (32 GB/s)": 32e9, "100 Gbit/s": 12.5e9, "10 Gbit/s": 1.25e9}
"""Bytes per second in one direction, from the data sheets."""

GRADIENT_BYTES = 4
"""Of a parameter: weights and gradients are float32 with every --precision."""


@dataclass(frozen=True)
class Published:
    """A published training on one H100 (ECSI, arXiv:2410.21553, Table 9): epochs over a number of images, and days."""

    epochs: int
    images: int
    days: float

    @property
    def images_per_second(self) -> float:
        return self.epochs * self.images / (self.days * 86_400)


PUBLISHED = {
    "ddbm-e2h": Published(epochs=2106, images=137_000, days=8),
    "ddbm-diode": Published(epochs=2617, images=16_884, days=17),
}
"""By the preset of the network. Images: README of github.com/phillipi/pix2pix; arXiv:1908.00463, the outdoor part."""


@dataclass(frozen=True)
class Cost:
    """A preset's parameters, operations of a forward pass of one image, forward passes per step, side of an image,
    pairs per step, and steps."""

    parameters: int
    forward: int
    passes: int
    side: int
    batch: int
    steps: int

    @property
    def operations(self) -> float:
        """Of a step, per image."""
        return float(self.passes * self.forward)

    def exchange(self, count: int, bandwidth: float) -> float:
        """Return the seconds that `count` processes need to exchange their gradients."""
        return 2 * (count - 1) / count * GRADIENT_BYTES * self.parameters / bandwidth

    def step(self, rate: float, count: int, bandwidth: float) -> float:
        """Return the seconds of a step at a rate of operations per second and process."""
        computed = self.operations * self.batch / count / rate
        return computed + max(0.0, self.exchange(count, bandwidth) - 2 / 3 * computed)


def cost_of(preset: str) -> Cost:
    """Count a preset."""
    asked: TrainRequest = request({"data": [Path("pairs")]}, preset=preset)
    side = asked.size if isinstance(asked.size, int) else asked.size[0]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build(NETWORKS, asked.network, what="network").create()
        network(torch.empty(1, 6, side, side), torch.empty(1))
    parameters = sum(each.numel() for each in network.parameters())
    passes = 4 if asked.compute.checkpoint_activations else 3
    return Cost(parameters, counter.get_total_flops(), passes, side, asked.recipe.batch_size, asked.recipe.steps)


def main() -> None:
    costs = {preset: cost_of(preset) for preset in PRESETS}
    rates = {}
    for name, training in PUBLISHED.items():
        rates[costs[name].side] = rate = training.images_per_second * 3 * costs[name].forward
        print(f"{name}: {training.images_per_second:.0f} images per second on one H100, {rate / 1e12:.0f} TFLOP/s")
    print("\npreset       parameters  gradients  forward/image  step/image   one H100: images/s, ms/step, days")
    for name, cost in costs.items():
        rate = rates[cost.side]
        seconds = cost.step(rate, 1, 1.0)
        print(
            f"{name:12} {cost.parameters / 1e6:8.1f} M {GRADIENT_BYTES * cost.parameters / 1e6:7.0f} MB"
            f" {cost.forward / 1e9:9.1f} GFLOP {cost.operations / 1e12:8.3f} TFLOP"
            f"   {cost.batch / seconds:8.0f} {1000 * seconds:8.0f} {cost.steps * seconds / 86_400:8.1f}"
        )
    for name in ("base-64", "base-256"):
        cost, rate = costs[name], rates[costs[name].side]
        print(f"\n{name}, batches of {cost.batch}: images per second, and share of N times one process")
        print(f"{'link':26}" + "".join(f"{count:>14}" for count in (1, 2, 4, 8)))
        for link, bandwidth in LINKS.items():
            cells = []
            for count in (1, 2, 4, 8):
                speed = cost.batch / cost.step(rate, count, bandwidth)
                share = speed * cost.step(rate, 1, bandwidth) / cost.batch / count
                cells.append(f"{speed:6.0f} ({share:4.0%})")
            print(f"{link:26}" + "".join(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    main()
