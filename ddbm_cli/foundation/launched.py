"""What a launcher of several processes (`torchrun`, `accelerate launch`) tells each of them by its environment."""

import os
from datetime import timedelta
from functools import cache

PATIENCE = timedelta(seconds=10)
"""How long the launcher's store may take to answer."""

KEY = "ddbm/failed"


def number(name: str, default: int) -> int:
    """Return a number of the environment, the default where there is none."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.isdecimal() else default


def process_count() -> int:
    """Return how many processes were started together."""
    return max(1, number("WORLD_SIZE", 1))


def is_main() -> bool:
    """Return whether this is the only process, or the first of those that were started together."""
    return number("RANK", 0) == 0


@cache
def is_first_to_fail() -> bool:
    """Return whether this process reports why it fails: of several that fail, the first one does.

    The processes agree on it by the launcher's store. Where it cannot be reached, each reports. To be called where the
    failure is noticed, because the end of one process makes others fail; later calls return the same.
    """
    if process_count() == 1:
        return True
    try:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(*place, is_master=False, wait_for_workers=False, timeout=PATIENCE)
        return store.add(f"{KEY}/{number('TORCHELASTIC_RESTART_COUNT', 0)}", 1) == 1
    except (ImportError, KeyError, ValueError, RuntimeError):
        return True
