"""How near the released edges2handbags network comes to the best rate of convolution on this CPU.

    python tests/benchmarks/network.py [--rounds 7] [--threads 1]

The floor is the best of some convolutions of this very network, in either memory format, measured in turns with it:
what else the machine does then hits both alike. A single convolution is short and may fall between two disturbances,
where a network's call cannot; so the best one is also repeated for as long as the network takes ("sustained"). Two
clocks are read. The wall's tells what a user waits for, and what
other processes take; the CPU's leaves these out, but is the work of the network alone only with one thread, since
threads that wait for each other count as working.

On a shared machine several threads wait for the one that was put aside, at every operation. There
OMP_WAIT_POLICY=passive in the environment may help, and --threads 1 measures the network and not the neighbours.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from ddbm_cli.networks import ADM, ADMConfig

BATCH = 4
SIZE = 64
CONVOLUTIONS = [(192, 192, 64), (384, 192, 64), (384, 384, 32), (576, 576, 16), (768, 768, 8)]
"""Channels before and after, and size, of 3x3 convolutions from each level."""

FORMATS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
REPEATS = 3


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return seconds by the wall's and by the CPU's clock."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def convolution(channels, out_channels, size, memory_format):
    """Return a convolution to call, and its floating-point operations."""
    x = torch.randn(BATCH, channels, size, size).to(memory_format=memory_format)
    weight = (0.01 * torch.randn(out_channels, channels, 3, 3)).to(memory_format=memory_format)
    bias = torch.randn(out_channels)
    return lambda: F.conv2d(x, weight, bias, padding=1), 2 * BATCH * size**2 * 9 * channels * out_channels


def sustained_rate(work, count, seconds):
    """Return the operations per second of a convolution that is repeated for so long."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        work()
        done += count
    return done / (time.perf_counter() - began)


def operations(config):
    """Count the network's floating-point operations, as the plain formulas have them."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ADM(config)(torch.empty(BATCH, config.in_channels, SIZE, SIZE), torch.empty(BATCH))
    return counter.get_total_flops()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    config = ADMConfig()
    network = ADM(config).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    x, times = torch.randn(BATCH, config.in_channels, SIZE, SIZE), 250 * torch.randn(BATCH)
    total = operations(config)
    convolutions = {
        (shape, name): convolution(*shape, memory_format)
        for shape in CONVOLUTIONS
        for name, memory_format in FORMATS.items()
    }

    rounds, fastest, sustained = [], {}, []
    with torch.inference_mode():
        network(x, times)
        for work, _ in convolutions.values():
            work()
        for _ in range(options.rounds):
            best = [0.0, 0.0]
            for key, (work, count) in convolutions.items():
                spans = [measure(work) for _ in range(REPEATS)]
                rates = [count / min(span[clock] for span in spans) for clock in (0, 1)]
                fastest[key] = max(fastest.get(key, 0.0), rates[0])
                best = [max(pair) for pair in zip(best, rates, strict=True)]
            spans = measure(lambda: network(x, times))
            rounds.append((spans, best))
            sustained.append(total / spans[0] / sustained_rate(*convolutions[max(fastest, key=fastest.get)], spans[0]))

    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {options.threads} thread(s)")
    print(f"network: {total / 1e9:.1f} GFLOP for {BATCH} x {SIZE} x {SIZE}, {options.rounds} rounds")
    print("convolutions, best GFLOP/s by the wall's clock:")
    for (channels, out_channels, size), name in convolutions:
        rate = fastest[(channels, out_channels, size), name]
        print(f"  {channels:4} -> {out_channels:4} at {size:2} x {size:2}, {name:14} {rate / 1e9:7.1f}")
    for clock, title in enumerate(("wall", "cpu")):
        network_best = total / min(spans[clock] for spans, _ in rounds)
        floor = max(best[clock] for _, best in rounds)
        middle = statistics.median(total / spans[clock] / best[clock] for spans, best in rounds)
        print(
            f"{title:>4}: {min(spans[clock] for spans, _ in rounds):.2f} s, {network_best / 1e9:.1f} GFLOP/s;"
            f" floor {floor / 1e9:.1f} GFLOP/s; ratio of the best {network_best / floor:.3f},"
            f" median of the rounds' ratios {middle:.3f}"
        )
    print(f"sustained: median of the rounds' ratios {statistics.median(sustained):.3f}, best {max(sustained):.3f}")


if __name__ == "__main__":
    main()
