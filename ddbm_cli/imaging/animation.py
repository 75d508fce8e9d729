"""Animations: images of one size, one after the other."""

import io
from collections.abc import Sequence

from PIL import Image


def encode_gif(frames: Sequence[Image.Image], *, milliseconds: int, last: int, comment: str = "") -> bytes:
    """Return images as the bytes of an animated GIF that repeats for ever.

    Args:
        frames: RGB, all of one size; each gets a palette of its own.
        milliseconds: how long a frame is shown. last: how long the last one is shown.
        comment: text to keep in the file.
    """
    stream = io.BytesIO()
    durations = [milliseconds] * (len(frames) - 1) + [last]
    quantized = [frame.quantize(256, dither=Image.Dither.NONE) for frame in frames]
    quantized[0].save(
        stream,
        "GIF",
        save_all=True,
        append_images=quantized[1:],
        duration=durations,
        loop=0,
        comment=comment.encode(),
        optimize=False,
    )
    return stream.getvalue()
