"""Checks of the installation and the machine, each with its result and the remedy for a fault."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from ddbm_cli import __version__
from ddbm_cli.foundation.devices import DTYPES, choose_device
from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.events import Diagnosed
from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.models import builtin_path, load_model
from ddbm_cli.networks.memory_format import keeps_channels_last
from ddbm_cli.registry import read_registry
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.registry.reach import has_token, hub_cache, is_offline, reach
from ddbm_cli.samplers import NoiseSource, finish

LEAST_FREE = 4 * 2**30
"""Bytes that a published model and its conversion may take."""

CONV = (16, 128, 32)
"""Batch, channels and side of the convolution whose speed is measured."""

SECONDS = 0.3
"""Duration of the measurement."""


def run(device: str = "auto") -> Iterator[Diagnosed]:
    """Run all checks, one after another.

    Raises:
        UsageError: no such device.
    """
    where = choose_device(device)
    yield Diagnosed(name="Program", ok=True, found=f"ddbm {__version__}, Python {platform.python_version()}")
    yield _device(where)
    yield from _dtypes(where)
    yield _layout(where)
    yield _registry()
    yield _builtin_file()
    yield _builtin_run(str(where))
    yield _space("Downloads", hub_cache())
    yield _space("Converted", cache_folder())
    yield _network()


def _device(device: torch.device) -> Diagnosed:
    found = f"torch {torch.__version__}, {device}"
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        free, _ = torch.cuda.mem_get_info(device)
        return Diagnosed(
            name="Device",
            ok=True,
            found=f"{found}: {facts.name}, {free / 2**30:.1f} of {facts.total_memory / 2**30:.1f} GiB free",
        )
    if device.type == "cpu":
        found += f", threads: {torch.get_num_threads()}"
        if shutil.which("nvidia-smi"):
            return Diagnosed(
                name="Device",
                ok=False,
                found=f"{found}; there is an NVIDIA GPU, but this torch cannot use it",
                hint="install torch's CUDA build, or a driver that is new enough for it",
                severity="warning",
            )
    return Diagnosed(name="Device", ok=True, found=found)


def _dtypes(device: torch.device) -> Iterator[Diagnosed]:
    for word, dtype in DTYPES.items():
        try:
            rate = _convolution(device, dtype)
        except (RuntimeError, NotImplementedError) as error:
            yield Diagnosed(
                name=word,
                ok=False,
                found=f"does not work here ({str(error).splitlines()[0]})",
                hint=f"leave out --dtype {word}",
                severity="error" if dtype == torch.float32 else "warning",
            )
        else:
            yield Diagnosed(name=word, ok=True, found=f"convolution at {rate / 1e9:,.4g} GFLOP/s")


def _layout(device: torch.device) -> Diagnosed:
    """Whether group normalisation keeps channels last; see `networks.memory_format`."""
    kept = keeps_channels_last(device, torch.float32)
    found = "keeps channels last" if kept else "returns channels first, so that networks use that"
    return Diagnosed(
        name="Group norm",
        ok=kept,
        found=found,
        hint="" if kept else "a newer torch may be faster; so is --compile",
        severity="warning",
    )


def _convolution(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of a 3x3 convolution, the best of some runs."""
    batch, channels, side = CONV
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
    x = torch.randn(batch, channels, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    work = 2 * 9 * batch * channels**2 * side**2
    best, began = float("inf"), time.perf_counter()
    with torch.inference_mode():
        layer(x)
        while best == float("inf") or time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            float(layer(x)[0, 0, 0, 0])  # waits for a GPU
            best = min(best, time.perf_counter() - start)
    return work / best


def _registry() -> Diagnosed:
    return _guarded("Registry", lambda: f"{len(read_registry())} models")


def _builtin_file() -> Diagnosed:
    def check() -> str:
        entry = next(entry for entry in read_registry().values() if entry.builtin)
        if sha256_of_file(builtin_path()) != entry.sha256:
            raise DdbmError(
                f"{entry.name}: the file is damaged", hint="reinstall it: pip install --force-reinstall ddbm-cli"
            )
        return f"{entry.name}, intact"

    return _guarded("Built-in", check)


def _builtin_run(device: str) -> Diagnosed:
    def check() -> str:
        model = load_model(device=device)
        size = model.card.preprocess.width  # the default model's images are square
        source = torch.ones(4, 3, size, size)
        source[:, :, size // 4 : -size // 4, size // 4] = -1
        began = time.perf_counter()
        result = finish(model.translate(source, NoiseSource(0, ["0", "1", "2", "3"]), plan := model.plan()))
        seconds = time.perf_counter() - began
        if not bool(result.isfinite().all()) or float(result.abs().max()) > 2:
            raise DdbmError("the default model's results are out of range", hint="pass --dtype fp32 or --device cpu")
        return f"4 images of {size}x{size} in {seconds:.2f} s, {plan.nfe} NFE, {model.device}"

    return _guarded("Run", check)


def _network() -> Diagnosed:
    """Whether the hub can be reached. Downloaded models work without it."""
    if is_offline():
        return Diagnosed(name="Network", ok=True, found="not checked, because HF_HUB_OFFLINE is set")
    known = "with a token" if has_token() else "without a token, which only private and gated models need"
    hint = "downloaded models work without it; to download, check the network, or set HF_ENDPOINT to a mirror"
    return replace(_guarded("Network", lambda: f"{reach()} answers, {known}"), hint=hint, severity="warning")


def _guarded(name: str, check: Callable[[], str]) -> Diagnosed:
    try:
        return Diagnosed(name=name, ok=True, found=check())
    except DdbmError as error:
        return Diagnosed(name=name, ok=False, found=error.message, hint=error.hint)


def _space(name: str, folder: Path) -> Diagnosed:
    """Whether a folder, which need not exist yet, has room for models."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    found = f"{folder}, {free / 2**30:.1f} GiB free"
    if not os.access(there, os.W_OK):
        return Diagnosed(
            name=name,
            ok=False,
            found=f"{folder} cannot be written",
            hint="set HF_HOME and DDBM_HOME to folders that can be written",
        )
    hint = "free some space, or set HF_HOME and DDBM_HOME to a larger disk"
    return Diagnosed(name=name, ok=free > LEAST_FREE, found=found, hint=hint, severity="warning")
