"""Hostile images: each is one error of one line, in bounded memory and time, and never blocks."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging import io as image_io
from ddbm_cli.imaging.io import image_size, open_picture, opened, read_file, read_text


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, *, depth=8, colour=6, body=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def saved(format, size=(64, 64), **options):
    stream = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(stream, format, **options)
    return stream.getvalue()


def webp(width, height):
    size = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + size


def tiff(width, height, **tags):
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 2**31} | tags
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + b"\0" * 4


HOSTILE = {
    "too many pixels.png": png(60_000, 60_000),
    "one long row.png": png(2**31 - 1, 1),
    "one long column.png": png(1, 150_000, colour=0),
    "huge canvas.webp": webp(2**14, 2**14),
    "largest canvas.webp": webp(2**24, 2**24),
    "huge.tiff": tiff(2**31, 2**31),
    "long strip.tiff": tiff(10_000, 10_000),
    "huge.gif": b"GIF89a\xff\xff\xff\xff\0\0\0" + b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\x02\0;",
    "huge.bmp": b"BM"
    + struct.pack("<IHHI", 99, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 2**30, 2**30, 1, 24, *[0] * 6),
    "huge.ppm": b"P6 99999 99999 255\n",
    "icon.png": b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0\xff\xff\xff\x7f\x16\0\0\0",
    "cut.png": saved("PNG")[:900],
    "cut.jpg": saved("JPEG")[:900],
    "cut.webp": saved("WEBP")[:300],
    "cut.tiff": saved("TIFF", compression="tiff_lzw")[:500],
    "cut.gif": saved("GIF")[:500],
    "words.png": b"just words",
    "page.jpg": b"<!DOCTYPE html><html></html>",
    "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n",
    "empty.png": b"",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error_of_one_line(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(HOSTILE[name])
    with pytest.raises(ImageError) as caught:
        open_picture(file)
    assert str(file) in caught.value.message and "\n" not in caught.value.message and caught.value.hint
    assert read_text(file) == {}
    try:
        image_size(file)
    except ImageError as error:
        assert "\n" not in error.message


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [read_file, image_size, open_picture])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", Path("/dev/zero")):
        with pytest.raises(ImageError, match=r"not a regular file|cannot be read|damaged"):
            read(path)
    assert read_text(tmp_path / "pipe.png") == {}


def test_a_file_of_many_bytes_is_not_read(tmp_path):
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match=r"sparse\.png: the file has 1048576 MiB, the limit is 256 MiB"):
        open_picture(tmp_path / "sparse.png")


def test_large_images_are_decoded_one_after_the_other(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(saved("PNG"))
    monkeypatch.setattr(image_io, "_BYTES_PER_PIXEL", 2**20)  # 4 GiB each: as if they were large
    with opened(tmp_path / "x.png"):
        assert image_io.DECODED._free == 0
    assert image_io.DECODED._free == image_io.DECODED._total


PROBE = """
import resource, sys, threading
from pathlib import Path
from ddbm_cli.imaging.io import opened
from ddbm_cli.imaging.preprocess import Preprocess
def work(file):
    with opened(Path(file)) as image:
        Preprocess(size=64).forward(image)
threads = [threading.Thread(target=work, args=(file,)) for file in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("colour", [0, 6])
def test_four_images_of_the_largest_size_fit_into_three_gigabytes(tmp_path, colour):
    side, channels = 13_300, {0: 1, 2: 3, 6: 4}[colour]
    row = b"\0" + b"\x80" * (channels * side)
    file = tmp_path / "x.png"
    file.write_bytes(png(side, side, colour=colour, body=row * side))
    assert file.stat().st_size < 2**21
    done = subprocess.run([sys.executable, "-c", PROBE, *[str(file)] * 4], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 3000
