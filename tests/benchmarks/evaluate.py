"""Evaluating pairs: the rate against that of the bare metrics on tensors in memory, and memory.

    python -m tests.benchmarks.evaluate [PAIRS] [METRICS]

The floor is the time of the same metrics on the same number of pictures of 64x64, in batches of the same size, that
lie in memory. Memory is measured after 1,000 pairs and after all (10,000 by default).
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from ddbm_cli.metrics import METRICS, Batch
from ddbm_cli.tasks.evaluate import BATCH_SIZE, EvaluateRequest, Measured, Reported, run
from tests.benchmarks.folder import resident_megabytes
from tests.tiny import picture

EARLY = 1000
SIDE = 64
DIFFERENT = 100


def bare(count: int, names: list[str]) -> float:
    """Return the seconds that the metrics take for so many pairs in memory."""
    metrics = [METRICS[name](torch.device("cpu")) for name in names]
    outputs, targets = torch.randint(0, 256, (2, BATCH_SIZE, 3, SIDE, SIDE), dtype=torch.uint8)
    batch = Batch(index=torch.arange(BATCH_SIZE), outputs=outputs, targets=targets)
    began = time.perf_counter()
    for _ in range(count // BATCH_SIZE):
        for metric in metrics:
            metric(batch)
    return (time.perf_counter() - began) * count / (count // BATCH_SIZE * BATCH_SIZE)


def main(count: int, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for side, shift in (("out", 1), ("truth", 0)):
            (root / side).mkdir()
            bodies = []
            for index in range(DIFFERENT):
                picture(index + shift, SIDE).save(root / "one.png")
                bodies.append((root / "one.png").read_bytes())
            for index in range(count):
                (root / side / f"{index:05d}.png").write_bytes(bodies[index % DIFFERENT])
        floor = bare(count, names)
        request = EvaluateRequest(outputs=root / "out", targets=root / "truth", metrics=tuple(names), device="cpu")
        done, early, began = 0, 0.0, time.perf_counter()
        for event in run(request):
            if isinstance(event, Measured):
                done += event.images
                if not early and done >= EARLY:
                    early = resident_megabytes()
            if isinstance(event, Reported):
                total = time.perf_counter() - began
                assert event.pictures == count
    late = resident_megabytes()
    print(f"metrics   {', '.join(names)}; {torch.get_num_threads()} thread(s)")
    print(f"bare      {count / floor:.0f} pairs a second in memory")
    print(f"evaluate  {count / total:.0f} pairs a second from files: {100 * floor / total:.1f} % (floor 90 %)")
    print(f"memory    {early:.0f} MB after {EARLY}, {late:.0f} MB after {count}: {late - early:+.0f} MB")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(int(given.get(0, 10_000)), given.get(1, "mse,l1,psnr,ssim").split(","))
