"""How fast batches of a data set that exceeds the memory for decoded images are, and how much memory they take.

    python -m tests.benchmarks.loader [--pairs 20000] [--size 256] [--memory 2] [--epochs 2]

The pairs are photograph-like JPEG files in a temporary folder, half as large again as they are used. Only `DISTINCT` of
them differ; the others are further names of the same files, which are read and decoded as often as separate ones.
Each line is an epoch: pairs per second of the loader alone, and the largest memory of the process so far, against
what it had before, `--memory`, and the batches that are prepared ahead. The last line is the step of a small network
at this size on the same threads, which is what the loader has to keep up with.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.networks import ADM, ADMConfig
from ddbm_cli.training import Batches
from ddbm_cli.training.batches import AHEAD_BYTES

BATCH = 16
DISTINCT = 200

NETWORK = ADMConfig(channels=48, multipliers=(1, 2, 2, 3), blocks=1, attention=(4, 8), head_channels=24, patch=2)
"""That of the preset small-64."""


def write(root: Path, count: int, size: int) -> None:
    """Write pairs: smooth colours with some grain, half as large again as they are used."""
    random = np.random.default_rng(0)
    grain = random.normal(0, 8, (size * 3 // 2, size * 3 // 2, 1))
    for side in "AB":
        (root / side).mkdir(parents=True)
    for index in range(count):
        names = [root / side / f"{index:06d}.jpg" for side in "AB"]
        if index >= DISTINCT:
            for name in names:
                os.link(name.with_name(f"{index % DISTINCT:06d}.jpg"), name)
            continue
        coarse = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        levels = np.asarray(coarse.resize(grain.shape[1::-1], Image.Resampling.BICUBIC)) + grain
        for name in names:
            Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(name, quality=92)


def peak() -> float:
    """Return the largest memory of the process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def network_rate(size: int, steps: int = 2) -> float:
    """Return the pairs per second of forward and backward passes."""
    network = ADM(NETWORK)
    x, times = torch.randn(4, 6, size, size), torch.rand(4)
    network(x, times).square().mean().backward()
    began = time.perf_counter()
    for _ in range(steps):
        network(x, times).square().mean().backward()
    return steps * len(x) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--memory", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    size, count = options.size, options.pairs
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count, size)
        before = peak()
        pairs = find_pairs([Path(folder)], val_share=0).train
        memory = int(options.memory * 2**30)
        batches = Batches(
            pairs, Preprocess(size=size), size=BATCH, seed=0, augment=("flip", "shift"), memory=memory, disk=2**40
        )
        limit = before + options.memory + AHEAD_BYTES / 2**30
        print(f"{count} pairs of {size} pixels: {batches.cache.words}")
        steps = count // BATCH
        stream = batches.from_step(0)
        for epoch in range(options.epochs):
            began, cpu = time.perf_counter(), time.process_time()
            for _ in range(steps):
                next(stream)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            rate = steps * BATCH / seconds
            print(
                f"epoch {epoch}: {rate:.0f} pairs per second, {1000 * cpu / steps / BATCH:.1f} ms of CPU per pair;"
                f" at most {peak():.2f} GiB (limit {limit:.2f})",
                flush=True,
            )
        stream.close()
    print(f"network of small-64: {network_rate(size):.2f} pairs per second on {torch.get_num_threads()} thread(s)")


if __name__ == "__main__":
    main()
