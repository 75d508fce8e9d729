"""What the first bytes of an image declare, read without a library that would believe them."""


def webp_pixels(body: bytes) -> int:
    """Return the pixels of the canvas of a WebP file, whose reader allocates it before it reports the size; else 0."""
    if body[:4] != b"RIFF" or body[8:16] != b"WEBPVP8X" or len(body) < 30:
        return 0
    width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (24, 27))
    return width * height
