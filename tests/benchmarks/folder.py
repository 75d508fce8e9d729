"""Translating a folder: the share of the time that the network works, and memory against the number of pictures.

    python -m tests.benchmarks.folder [PICTURES] [MODEL] [NFE]

The floor is the time inside the calls of the network and of the codec's decoder. The clock starts when the model is
loaded and the plan is made, so reading the first pictures and writing the last ones count. Pictures have 1.5 times the
model's side. Memory is measured after 50 pictures and after all (2000 by default); NFE is the model's own by default.

The time after start-up is to be at most 1.05 times the floor: 95 %. A tiny model shows the memory of many pictures, and
no share of the network, which takes a millisecond.
"""

import gc
import resource
import sys
import tempfile
import time
from pathlib import Path

from ddbm_cli.models import load_model
from ddbm_cli.tasks.events import Planned, Written
from ddbm_cli.tasks.translate import TranslateRequest, run
from tests.tiny import picture

EARLY = 50


class Clock:
    """The time spent inside a method, over all its calls."""

    def __init__(self, owner: type, name: str) -> None:
        self.seconds = 0.0
        inner = getattr(owner, name)

        def timed(*arguments, **options):
            began = time.perf_counter()
            try:
                return inner(*arguments, **options)
            finally:
                self.seconds += time.perf_counter() - began

        setattr(owner, name, timed)


def resident_megabytes() -> float:
    """Memory held now where the system tells it, else the most held so far."""
    gc.collect()
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(count: int, model: str | None, nfe: int | None) -> None:
    loaded = load_model(model)
    size = loaded.card.preprocess.size
    floor = [Clock(type(loaded.denoiser.network), "forward"), Clock(type(loaded.codec), "decode")]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        for index in range(count):
            picture(index, size * 3 // 2).save(root / "in" / f"{index:05d}.png")
        request = TranslateRequest(source=str(root / "in"), output=root / "out", model=model, nfe=nfe)
        written, early, began = 0, 0.0, 0.0
        for event in run(request, model=loaded):
            if isinstance(event, Planned):
                print("\n".join(f"{name:<9} {fact}" for name, fact in event.facts.items()))
                began = time.perf_counter()
            if isinstance(event, Written):
                written += 1
                if written == EARLY:
                    early = resident_megabytes()
        total = time.perf_counter() - began
    late = resident_megabytes()
    print(f"pictures  {written}, {written / total:.2f} a second")
    seconds = sum(clock.seconds for clock in floor)
    print(f"network   {seconds:.2f} of {total:.2f} s: {100 * seconds / total:.1f} % (floor 95 %)")
    print(f"memory    {early:.0f} MB after {EARLY}, {late:.0f} MB after {written}: {late - early:+.0f} MB (limit 20)")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    main(int(given.get(0, 2000)), given.get(1) or None, int(given[2]) if 2 in given else None)
