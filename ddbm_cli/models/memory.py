"""Memory beside a large model's weights."""

import ctypes
from contextlib import suppress

LARGE = 2**29
"""Bytes of weights from which it matters what else is held."""

LARGE_BLOCK = 2**23
_M_MMAP_THRESHOLD = -3


def return_large_blocks() -> None:
    """Have the C library give freed blocks of 8 MiB and more back to the system at once, where it is glibc.

    It would keep blocks of up to 32 MiB for later. A U-Net at 256 pixels frees them in many sizes, few of which fit
    again: a fifth of a gigabyte stays held for nothing. Small networks are better off with the habit, a tenth faster.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
