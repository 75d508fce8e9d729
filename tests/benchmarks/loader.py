"""How fast batches of a data set that exceeds the memory for decoded images are, and how much memory they take.

    python -m tests.benchmarks.loader [COUNT] [SIZE] [MEMORY_GIB]

COUNT pairs of photograph-like JPEG files are written to a temporary folder. Each line is an epoch: pairs per second,
and the largest memory of the process so far.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.training import Batches

BATCH = 16


def write(root: Path, count: int, size: int) -> None:
    """Write pairs: smooth colours with some grain, half as large again as they are used."""
    random = np.random.default_rng(0)
    grain = random.normal(0, 8, (size * 3 // 2, size * 3 // 2, 1))
    for side in "AB":
        (root / side).mkdir(parents=True)
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        levels = np.asarray(coarse.resize(grain.shape[1::-1], Image.Resampling.BICUBIC)) + grain
        for side in "AB":
            Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(root / side / f"{index:06d}.jpg", quality=92)


def main(count: int = 20_000, size: int = 256, memory: float = 2.0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count, size)
        pairs = find_pairs([Path(folder)], val_share=0).train
        batches = Batches(
            pairs, Preprocess(size=size), size=BATCH, seed=0, augment=("flip",), memory=int(memory * 2**30), disk=2**40
        )
        print(f"{count} pairs of {size} pixels: {batches.cache.words}")
        steps = count // BATCH
        stream = batches.from_step(0)
        for epoch in range(3):
            began = time.perf_counter()
            for _ in range(steps):
                next(stream)
            seconds = time.perf_counter() - began
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"epoch {epoch}: {steps * BATCH / seconds:.0f} pairs per second, at most {peak:.2f} GiB")
        stream.close()


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, int, float), sys.argv[1:], strict=False)))
