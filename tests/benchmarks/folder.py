"""Translating a folder: the share of the time that the network works, and memory against the number of pictures.

    python -m tests.benchmarks.folder [PICTURES] [MODEL]

The floor is the time inside the network's own calls, after start-up; memory is measured after 50 pictures and after
all (2000 by default).
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from ddbm_cli.denoisers import Denoiser
from ddbm_cli.tasks.events import BatchStarted, Written
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.tiny import picture


def resident_megabytes() -> float:
    """Memory held now where the system tells it, else the most held so far."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(count: int, model: str | None) -> None:
    inside = 0.0
    forward = Denoiser.forward

    def timed(self: Denoiser, *arguments):
        nonlocal inside
        began = time.perf_counter()
        try:
            return forward(self, *arguments)
        finally:
            inside += time.perf_counter() - began

    Denoiser.forward = timed
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        for index in range(count):
            picture(index, 96).resize((96, 96), Image.Resampling.BILINEAR).save(root / "in" / f"{index:05d}.png")
        request = TranslateRequest(source=str(root / "in"), output=root / "out", model=model, nfe=2)
        written, early, began, calls = 0, 0.0, 0.0, 0.0
        for event in run(request):
            if isinstance(event, BatchStarted) and not began and written:
                began, calls = time.perf_counter(), inside  # the first batch pays for start-up
            if isinstance(event, Written):
                written += 1
                if written == 50:
                    early = resident_megabytes()
        total, network = time.perf_counter() - began, inside - calls
    print(f"pictures {written}, {written / total:.1f} a second")
    print(f"in the network {network:.2f} of {total:.2f} s: {100 * network / total:.1f} %")
    print(f"memory after 50: {early:.0f} MB, after {written}: {resident_megabytes():.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else None)
