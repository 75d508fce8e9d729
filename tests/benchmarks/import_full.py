"""A checkpoint of full size: import, verify, translate one picture; time, and memory relative to the file.

    python -m tests.benchmarks.import_full [NAME ...] [--folder FOLDER] [--dtype fp16]

NAME is a model of the registry with an importer (edges2handbags-vp-64 and diode-vp-256 if none is named). Its file is
made of random numbers, as the official code saves it, in a temporary folder, and removed in the end. Each step is a
process of its own, whose peak of memory is told above that of a process that has imported torch and done nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from PIL import Image

from ddbm_cli.models.assemble import assemble
from ddbm_cli.models.importers import card_of
from ddbm_cli.registry import read_registry

NAMES = ("edges2handbags-vp-64", "diode-vp-256")
NOTHING = [sys.executable, "-c", "import torch, ddbm_cli.tasks.translate, ddbm_cli.tasks.exchange"]


def measured(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and its peak of memory in bytes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return time.perf_counter() - began, 1024 * usage.ru_maxrss


def write(name: str, path: Path) -> None:
    """Write random weights as torch.save does; attention in 3 dimensions, small enough for float16."""
    torch.manual_seed(0)
    weights = assemble(card_of(read_registry()[name])).network.state_dict()
    body = {
        key: (value.flatten(2) if ".qkv.weight" in key else value).contiguous().clone()
        for key, value in weights.items()
    }
    torch.save(body, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--dtype")
    parser.add_argument("--nfe", default="5")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        root = Path(folder)
        picture = root / "source.png"
        Image.new("RGB", (64, 64), "white").save(picture)
        _, floor = measured(NOTHING)
        for name in given.names or NAMES:
            file, model = root / "old.pt", root / "model.safetensors"
            # In a process of its own, for a child's peak begins at what its parent holds.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as another:
                another.submit(write, name, file).result()
            size = file.stat().st_size
            print(f"{name}: {size / 1e9:.2f} GB, over a floor of {floor / 1e9:.2f} GB")
            ddbm = [sys.executable, "-m", "ddbm_cli"]
            typed = ["--dtype", given.dtype] if given.dtype else []
            steps = {
                "import": [*ddbm, "weights", "import", file, "--like", name, "-o", model, "--overwrite", *typed],
                "verify": [*ddbm, "weights", "verify", model, "--check"],
                "translate": [*ddbm, "translate", picture, root / "out.png", "-m", model, "--nfe", given.nfe, "-q"],
            }
            for step, command in steps.items():
                seconds, peak = measured([str(part) for part in command])
                print(f"  {step:10} {seconds:7.1f} s   peak {(peak - floor) / size:5.2f} times the file", flush=True)
            for each in (file, model, root / "out.png"):
                each.unlink()


if __name__ == "__main__":
    main()
