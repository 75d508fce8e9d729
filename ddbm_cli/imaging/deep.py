"""PNG files with 16 bits per channel.

Pillow (13.0) has no colour images of more than 8 bits, OpenCV writes no text, and pypng was last released in 2022; so
this writes the four chunks itself (PNG specification, third edition, sections 5 and 9).
"""

import struct
import zlib
from collections.abc import Iterable

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {3: 2, 4: 6}
UP = 2
"""The filter of all rows: the difference to the row above, byte by byte."""


def encode_png16(pixels: np.ndarray, chunks: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return an image as the bytes of a PNG file.

    Args:
        pixels: uint16 (H, W, 3), or (H, W, 4) with alpha. chunks: further chunks, before the pixels: type and data.
    """
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, body) for kind, body in every)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
