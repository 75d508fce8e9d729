"""How much memory a process uses and may use, on the CPU or a GPU.

On a CPU nothing fails when memory runs out: the system ends the process. So what is needed is predicted, and compared
with what is free now, within the limits of the machine and of the process's control group (containers, Slurm).
"""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

PROCESS = Path("/proc/self")
"""Where Linux tells about this process."""

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux has the limits of control groups, version 2."""

SHARE = {"cpu": 0.9, "cuda": 0.95}
"""Fraction of the free memory that may be used, by the type of the device."""


@dataclass(frozen=True)
class Memory:
    """The memory of this process on a device, in bytes.

    Args:
        device: of type cpu or cuda.
    """

    device: torch.device

    def forget_peak(self) -> None:
        """Begin a new `peak`, where the system can; Linux and CUDA can."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with suppress(OSError):
            (PROCESS / "clear_refs").write_text("5")

    def peak(self) -> int:
        """Return what this process used at most so far, 0 where it is unknown."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_reserved(self.device)
        if self.device.type != "cpu" or os.name == "nt":
            return 0
        with suppress(OSError, ValueError):
            lines = (PROCESS / "status").read_text().splitlines()
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def used(self) -> int:
        """Return what this process uses now; on a CPU it needs psutil, which accelerate brings."""
        if self.device.type == "cuda":
            return torch.cuda.memory_reserved(self.device)
        import psutil

        return int(psutil.Process().memory_info().rss)

    def limit(self) -> int:
        """Return what this process may use in all, if it shares what is free with the others of its machine."""
        if self.device.type == "cuda":
            return self.used() + int(SHARE["cuda"] * torch.cuda.mem_get_info(self.device)[0])
        import psutil

        free = min(int(psutil.virtual_memory().available), *free_in_groups())
        count = os.environ.get("LOCAL_WORLD_SIZE", "")
        return self.used() + int(SHARE["cpu"] * free) // max(1, int(count) if count.isdecimal() else 1)


def free_in_groups(own: Path = PROCESS / "cgroup", groups: Path = GROUPS) -> list[int]:
    """Return what each control group that this process is in leaves free, and a number above all memories."""
    found = [2**62]
    with suppress(OSError):
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
        paths = [Path(parts[2].lstrip("/")) for parts in lines if len(parts) == 3 and parts[0] == "0"]
        for group in [groups / each for path in paths for each in (path, *path.parents)]:
            with suppress(OSError, ValueError):  # a group without a limit has the word "max"
                limit = int((group / "memory.max").read_text())
                found.append(max(0, limit - int((group / "memory.current").read_text()) + _reclaimable(group)))
    return found


def _reclaimable(group: Path) -> int:
    """Return the bytes of files in a group's memory, which the system drops when it needs room."""
    lines = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    return next((int(line[1]) for line in lines if line[0] == "inactive_file"), 0)
