"""Devices and number formats: the names that users write, and what torch calls them."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError

PAUSE_HARD = 2
"""omp_pause_hard of OpenMP 5.0: nothing of the resources is kept."""

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Number formats that a network can compute in."""


def short_name(dtype: torch.dtype) -> str:
    """Return the name of a number format as a user writes it: "fp32"."""
    return next(name for name, each in DTYPES.items() if each == dtype)


def torch_name(dtype: torch.dtype) -> str:
    """Return the name of a number format as torch writes it: "float32"."""
    return str(dtype).removeprefix("torch.")


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor contains neither NaN nor infinity, without allocating a mask of its size."""
    return tensor.numel() == 0 or all(bool(end.isfinite()) for end in tensor.aminmax())


def seed_everywhere(seed: int, device: torch.device) -> None:
    """Set the seed of the numbers that torch draws without a generator, on the CPU and on a device.

    Draws are those after `torch.manual_seed`, which takes longer on a CPU alone because it also notes seeds for GPUs.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is a GPU where there is one, each process of torchrun's its own.

    Raises:
        UsageError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            own = os.environ.get("LOCAL_RANK", "")
            return (
                torch.device("cuda", int(own) % torch.cuda.device_count()) if own.isdecimal() else torch.device("cuda")
            )
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(
            f"device '{name}' is not available on this machine", hint="use --device cpu, or auto"
        ) from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the type of that name; "auto" is bfloat16 on GPUs that have it, float32 elsewhere.

    Raises:
        UsageError: no such type.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if name not in DTYPES:
        raise UsageError(f"unknown dtype '{name}'", hint=f"choose one of: auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def memory_of(device: torch.device) -> int:
    """Return the bytes of memory that a device has in all; 0 where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def synchronize(device: torch.device) -> None:
    """Wait until a device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def release_threads() -> None:
    """End the threads that help this thread to compute, before another thread computes with as many.

    GNU's OpenMP keeps a team of threads for each thread that computed once. With more of them than cores it no longer
    lets them wait actively, and the default model takes 1.8 times as long. Without effect on other libraries.
    """
    library = Path(torch.__file__).parent / "lib" / "libgomp.so.1"
    with suppress(OSError, AttributeError):
        ctypes.CDLL(str(library) if library.exists() else "libgomp.so.1").omp_pause_resource_all(PAUSE_HARD)
