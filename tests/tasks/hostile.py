"""A folder of 300 inputs of which most are damaged, lie, or are no files, for runs that must survive all of them.

    python -m tests.tasks.hostile FOLDER

FOLDER gets `in`, and `canary` with files outside of it that some of the inputs point to, and that must not change.
"""

import io
import os
import random
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from tests.imaging.test_hostile_images import HOSTILE, chunk, png, saved

COUNT = 300
EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "TIFF": "tiff", "GIF": "gif", "BMP": "bmp", "PPM": "ppm"}

NAMES = [
    b"\x01\x02control.png", b"\x1b[31mred.png", b"new\nline.png", b"tab\tname.png", b"return\r.png", b"bell\x07.png",
    b"back\\slash.png", b"quote'.png", b'double".png', b"--output.png", b" space first.png", b"space last .png",
    "right\u202eto left.png".encode(), "a\u0301ccent.png".encode(), "\U0001f600.png".encode(), b"\xff\xfe bytes.png",
    b"x" * 240 + b".png", "\u732b".encode() * 60 + b".png", b"%s%n.png", b"{stem}.png", b"{0.__class__}.png",
    b"$HOME.png", b"`id`.png", b"a;b.png", b"star*.png", b"what?.png", b"[set].png", b"CON.png", b"..png.png",
    b"two.png.png", b"~.png", b"-.png", b"UPPER.PNG", b"Mixed.JpG", b"same.png", b"same.jpg", b"same.webp", b"#.png",
    b"a|b.png", b"<tag>.png", b"&amp;.png", b"[bold]x.png", b"\xe2\x80\x8bzero width.png",
    b"\xc2\x9b31m c1.png", b"nul.txt.png",
]  # fmt: skip
"""Names of images that are otherwise fine."""

OTHERS = [
    b"%PDF-1.4", b"PK\3\4", b"\x7fELF", b"MZ", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", b"RIFF",
    b"\x80\x04\x95cos\nsystem\n", b"#!/bin/sh\nexit 1\n", b'{"a": 1}', b"P3 2 2 255 1 2 3", b"\0" * 64, b"\xff\xd8\xff",
]  # fmt: skip
"""Contents of other files, named as images."""


def image(number: int, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


def body(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def fine() -> Iterator[tuple[bytes, bytes]]:
    """Yield names and bytes of images that can be read, and are unusual."""
    for number, name in enumerate(NAMES):
        format = {b".jpg": "JPEG", b".jpG": "JPEG", b"webp": "WEBP"}.get(name[-4:], "PNG")
        yield name, body(image(number), format)
    for number, side in enumerate([(1, 1), (2, 3), (7, 1), (1, 900), (900, 1), (1, 50_000), (50_000, 1), (4000, 9)]):
        yield b"size %d.png" % number, body(image(number, side))
        yield b"size %d.tiff" % number, body(image(number, side), "TIFF")
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        made = Image.new("I;16", (20, 20), 3000) if mode == "I;16" else image(3).convert(mode)
        yield f"mode {mode}.png".encode(), body(made)
    for mode in ("CMYK", "LAB", "YCbCr", "F", "RGBA"):
        made = image(3).convert("RGB" if mode == "LAB" else mode)
        yield f"mode {mode}.tiff".encode(), body(made, "TIFF")
    yield b"cmyk.jpg", body(image(4, mode="CMYK"), "JPEG")
    yield b"grey.jpg", body(image(4, mode="L"), "JPEG")
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        frames = [image(number) for number in range(4)]
        yield (
            f"animated.{EXTENSIONS[format]}".encode(),
            body(frames[0], format, save_all=True, append_images=frames[1:]),
        )
    for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = value
        yield b"orientation %d.jpg" % value, body(image(5), "JPEG", exif=exif)
    for shown, extension in zip(reversed(EXTENSIONS), EXTENSIONS.values(), strict=True):
        yield f"{shown} inside.{extension}".encode(), body(image(6), shown)


def doubtful(chance: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and bytes of files that are damaged, or lie."""
    for name, content in HOSTILE.items():
        yield name.encode(), content
    whole = {format: saved(format, (40, 40)) for format in EXTENSIONS}
    for format, extension in EXTENSIONS.items():
        for share in (0.02, 0.1, 0.3, 0.5, 0.8, 0.99):
            yield f"cut {share}.{extension}".encode(), whole[format][: int(share * len(whole[format]))]
        yield f"magic only.{extension}".encode(), whole[format][:8]
        yield f"noise.{extension}".encode(), chance.randbytes(500)
        for number in range(4):
            damaged = bytearray(whole[format])
            for _ in range(6):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            yield f"flipped {number}.{extension}".encode(), bytes(damaged)
    for number, text in enumerate(OTHERS):
        yield b"other %d.png" % number, text
    for number, profile in enumerate((b"", b"x", b"x" * 3000, b"\0" * 128, b"acsp" * 100)):
        yield b"profile %d.png" % number, body(image(7), icc_profile=profile)
        yield b"profile %d.jpg" % number, body(image(7), "JPEG", icc_profile=profile)
    for number, exif in enumerate(
        (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\0\0\0\x08\xff\xff")
    ):
        yield b"exif %d.jpg" % number, body(image(8), "JPEG", exif=exif)
    yield from _chunks()


def _chunks() -> Iterator[tuple[bytes, bytes]]:
    """Yield PNG files whose parts do not fit each other."""
    magic, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    data = chunk(b"IDAT", zlib.compress(b"\0" * 4000))

    def head(width=20, height=20, depth=8, colour=2, interlace=0):
        return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))

    text = chunk(b"zTXt", b"ddbm\0\0" + zlib.compress(b"x" * 60_000_000))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(b"x" * 60_000_000))
    good = head() + data + end
    files = [
        data + end, head() + end, head() + data, data + head() + end, head() + head() + data + end,
        head(width=0) + data + end, head(height=0) + data + end, head(depth=3) + data + end,
        head(colour=5) + data + end, head(interlace=9) + data + end, head(colour=3) + data + end,
        head() + chunk(b"tRNS", b"\0") + data + end, head() + b"\x7f\xff\xff\xffIDAT" + b"\0" * 40,
        head() + text + data + end, head() + profile + data + end, head()[:-1] + b"\0" + data + end,
        head(colour=3) + chunk(b"PLTE", b"") + data + end, head(5000, 5000) + data + end, good + good,
    ]  # fmt: skip
    for number, content in enumerate(files):
        yield b"chunks %d.png" % number, magic + content
    many = PngImagePlugin.PngInfo()
    for number in range(3000):
        many.add_text(f"key {number}", "value")
    yield b"texts.png", body(image(9), pnginfo=many)
    yield b"record.png", body(image(9), pnginfo=_record())


def _record() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("ddbm", "[" * 100_000)
    return info


def _others(root: Path, canary: Path) -> list[bytes]:
    """Write what is not a file with content of its own; return the names of those that have an image's."""
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.png"))
    (root / "folder.png").mkdir()
    (root / "folder.png" / "inside.png").write_bytes(body(image(1)))
    links = {
        "dangling.png": "nothing.png", "itself.png": "itself.png", "one.png": "two-.png", "two-.png": "one.png",
        "zero.png": "/dev/zero", "null.png": "/dev/null", "terminal.png": "/dev/tty", "to pipe.png": "pipe.png",
        "to canary.png": str(canary / "photo.png"), "to folder.png": "folder.png", "loop": "..", "up.png": "../..",
        "passwords.png": "/etc/passwd",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "unreadable.png").write_bytes(body(image(2)))
    (root / "unreadable.png").chmod(0)
    (root / "locked").mkdir()
    (root / "locked" / "inside.png").write_bytes(body(image(2)))
    (root / "locked").chmod(0)
    with (root / "sparse.png").open("wb") as file:
        file.write(png(20, 20))
        file.truncate(2**30)
    os.link(canary / "photo.png", root / "hard link.png")
    names = [name for name in links if name.endswith(".png")] + ["unreadable.png", "sparse.png", "hard link.png"]
    return [name.encode() for name in (*names, "pipe.png", "socket.png", "folder.png", "locked", "loop")]


def write(folder: Path, count: int = COUNT) -> tuple[list[bytes], list[bytes]]:
    """Write the inputs and the canaries; return the names of those that can be read, and of all others.

    Args:
        count: how many, at most; with fewer, about equally many of each sort.
    """
    root, canary = folder / "in", folder / "canary"
    root.mkdir(parents=True)
    canary.mkdir()
    (canary / "photo.png").write_bytes(body(image(0)))
    (canary / "keep.txt").write_text("unchanged")
    others = _others(root, canary)
    good, bad = list(fine()), list(doubtful(random.Random(0)))
    every = max(1, -(-(len(good) + len(bad)) // max(1, count - len(others))))
    good, bad = good[::every], bad[::every]
    more = count - len(good) - len(bad) - len(others)
    good += [(b"more %d.png" % number, body(image(number))) for number in range(more if every == 1 else 0)]
    for name, content in (*good, *bad):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(content)
    return [name for name, _ in good], [*(name for name, _ in bad), *others]


if __name__ == "__main__":
    readable, rest = write(Path(sys.argv[1]))
    sys.stdout.write(f"{len(readable)} that can be read, {len(rest)} others\n")
