"""Whether `ddbm train --dry-run` is true: its memory, time and disk against those of the run that follows.

    python -m tests.benchmarks.dry_run [--case tiny ...] [--rounds 3]

Each round is a dry run and then the same run to its end, in processes of their own, on photograph-like pairs. Memory is
the largest resident set of the run's process, as the system reports it; time passes from the header to the end of the
run, with validations and checkpoints; disk is what the run's folder holds, with the room for one more checkpoint. A
ratio above 1 says that the dry run promised more than the run took. Targets: 10 % for memory, 15 % for time.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.loader import write

PAIRS = 256


@dataclass(frozen=True)
class Case:
    """A preset, further options, and the size of its images."""

    preset: str
    size: int
    steps: int
    more: tuple[str, ...] = ()

    def command(self, root: Path) -> list[str]:
        every = ["--validate-every", str(self.steps // 2), "--save-every", str(self.steps // 2)]
        asked = [str(root / "pairs"), "--preset", self.preset, "--steps", str(self.steps), *every, *self.more]
        return [sys.executable, "-m", "ddbm_cli", "train", *asked, "-o", str(root / "run"), "-d", "cpu", "--json"]


CASES = {
    "tiny": Case("tiny", 32, 600),
    "small-64": Case("small-64", 64, 60),
    "small-64, 4 parts": Case("small-64", 64, 60, ("--accumulate", "4")),
    "small-64, recomputed": Case("small-64", 64, 60, ("--checkpoint-activations",)),
    "small-64, bf16": Case("small-64", 64, 40, ("--precision", "bf16")),
    "small-64, batches of 64": Case("small-64", 64, 20, ("--batch-size", "64")),
}


@dataclass(frozen=True)
class Needs:
    """GiB of memory, seconds, and GiB of the disk."""

    memory: float
    seconds: float
    disk: float


def done(command: Sequence[str]) -> tuple[list[dict[str, Any]], list[float], float]:
    """Run a command; return its records, when each came, and the GiB that its process took at most."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        records, times = [], []
        for line in process.stdout:
            records.append(json.loads(line))
            times.append(time.monotonic())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, records[-1:]
    return records, times, usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def promised(command: Sequence[str]) -> tuple[Needs, str]:
    """Do a dry run; return what it says that the run needs, and its largest batch."""
    records, _, _ = done([*command, "--dry-run"])
    facts = records[0]["facts"]
    hours = re.search(r"([\d.e+-]+) hours", facts["Needs"])
    assert hours
    found = [re.match(r"([\d.]+) (MiB|GiB)", facts[name]) for name in ("Memory", "Disk")]
    memory, disk = (float(each[1]) / (1024 if each[2] == "MiB" else 1) for each in found if each)
    return Needs(memory, 3600 * float(hours[1]), disk), facts.get("Largest batch", "")


def taken(command: Sequence[str], run: Path) -> Needs:
    """Do the run; return what it took."""
    records, times, memory = done(command)
    assert records[-1]["event"] == "trained"
    sizes = {file.name: file.stat().st_size for file in run.rglob("*") if file.is_file()}
    kept = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
    return Needs(memory, times[-1] - times[0], (kept + sizes["state.safetensors"]) / 2**30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", choices=CASES, help="by default all")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in options.case or CASES:
        case, rounds = CASES[name], []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                write(root / "pairs", PAIRS, case.size)
                before, largest = promised(case.command(root))
                rounds.append((before, taken(case.command(root), root / "run")))
        print(f"{name}: {len(rounds)} round(s)" + (f"; largest batch {largest}" if largest else ""))
        for what, unit in (("memory", "GiB"), ("seconds", "s"), ("disk", "GiB")):
            pairs = [(getattr(one, what), getattr(other, what)) for one, other in rounds]
            ratios = [one / other for one, other in pairs]
            shown = ", ".join(f"{one:.3g}/{other:.3g}" for one, other in pairs)
            print(f"  {what:8} {statistics.median(ratios):.2f} (promised/taken in {unit}: {shown})", flush=True)


if __name__ == "__main__":
    main()
