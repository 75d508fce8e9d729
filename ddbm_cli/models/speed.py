"""Which number type a large network computes fastest in on this CPU: measured at its first run, and remembered.

Some processors multiply bfloat16 several times as fast as float32 (avx512_bf16, AMX), others more slowly, and no flag
tells by how much. So a network of the same kind with fewer blocks and channels is timed in both types, alternately.
"""

import dataclasses
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.documents import read_json
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.models.card import ModelCard
from ddbm_cli.networks import ADM, ADMConfig, pack
from ddbm_cli.registry.folders import data_folder

LEAST_PARAMETERS = 50_000_000
"""Smaller networks stay in float32, whose results are the same bits on most machines."""

LEAST_GAIN = 1.25
"""bfloat16 is chosen where it is at least so many times as fast."""

ROUNDS = 3
"""Evaluations of each type that are timed, after one that is not; the fastest counts."""

LARGEST = 2**16
"""Bytes of the largest file of measurements that is read."""


@dataclass(frozen=True)
class Measured:
    """How many times as fast as in float32 a network is in bfloat16, and whether that was measured just now."""

    gain: float
    now: bool

    @property
    def dtype(self) -> torch.dtype:
        """The faster type."""
        return torch.bfloat16 if self.gain >= LEAST_GAIN else torch.float32

    @property
    def words(self) -> str:
        """Why bfloat16 was chosen; "" where it was not."""
        if self.dtype == torch.float32:
            return ""
        return f"bf16, {self.gain:.2g} times as fast here as fp32, with small changes; --dtype fp32 for none"


def measure(card: ModelCard, network: nn.Module) -> Measured | None:
    """Return the speed of a network on the CPU, measured or remembered; None for small ones and for other kinds.

    Args:
        card: states the size of its images.
        network: on any device, also without memory.
    """
    if not isinstance(network, ADM) or sum(each.numel() for each in network.parameters()) < LEAST_PARAMETERS:
        return None
    own = card.preprocess
    facts = [torch.__version__, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(), own.size]
    key = sha256(json.dumps([card.network, *facts], sort_keys=True).encode())[:24]
    known = _read()
    if key in known:
        return Measured(known[key], now=False)
    gain = _timed(_smaller(network.config), own.height, own.width)
    with suppress(OSError):  # then it is measured again the next time
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_text(_file(), json.dumps(known | {key: round(gain, 3)}, indent=1))
    return Measured(gain, now=True)


def _smaller(config: ADMConfig) -> ADMConfig:
    """Return a network that has about the same gain, and takes a tenth of the time and of the memory; measured."""
    less = dataclasses.replace(config, blocks=1)
    half = dataclasses.replace(less, channels=2 * max(1, config.channels // 4))
    with suppress(UsageError), torch.device("meta"):
        half.create()
        return half
    return less  # the heads of attention cannot share half the channels


@torch.no_grad()
def _timed(config: ADMConfig, height: int, width: int) -> float:
    """Return the time in float32 over that in bfloat16."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        full = config.create().eval()
        half = config.create().eval().to(torch.bfloat16)
    for network in (full, half):
        pack(network.requires_grad_(False))
    image = torch.zeros(1, config.in_channels, height, width)
    at, label = torch.zeros(1), None if config.classes is None else torch.zeros(1, dtype=torch.long)
    best = [float("inf"), float("inf")]
    for turn in range(ROUNDS + 1):
        for place, network in enumerate((full, half)):
            seconds = _seconds(network, image, at, label)
            if turn:
                best[place] = min(best[place], seconds)
    return best[0] / best[1]


def _seconds(network: nn.Module, image: Tensor, at: Tensor, label: Tensor | None) -> float:
    began = time.perf_counter()
    network(image, at, *(() if label is None else (label,)))
    return time.perf_counter() - began


def _file() -> Path:
    return data_folder() / "speed.json"


def _read() -> dict[str, float]:
    """Return what is remembered; nothing where the file is missing or not readable."""
    try:
        body = read_json(_file(), hint="", limit=LARGEST)
    except UsageError:
        return {}
    if not isinstance(body, dict):
        return {}
    return {key: float(value) for key, value in body.items() if type(value) in (int, float) and 0 < value < 1000}
