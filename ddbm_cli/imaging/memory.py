"""A limit on the memory of decoded images that are in use at one time."""

import contextlib
import threading
from collections.abc import Iterator


class Budget:
    """A number of bytes that threads share; who wants more than is free waits.

    Args:
        total: bytes. A single claim of more is granted when no other claim is held.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()
        self._own = threading.local()

    @contextlib.contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Claim bytes while the block runs. Within it, further claims of the same thread are granted at once."""
        if getattr(self._own, "holds", False):  # waiting for others while holding could block all for ever
            yield
            return
        claimed = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= claimed)
            self._free -= claimed
        self._own.holds = True
        try:
            yield
        finally:
            self._own.holds = False
            with self._changed:
                self._free += claimed
                self._changed.notify_all()


DECODED = Budget(2**30)
"""For decoded images of any size: many small ones at a time, large ones one after the other."""
