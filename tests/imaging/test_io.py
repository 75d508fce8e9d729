"""Pictures come in right, whatever they are, and go out whole."""

import io
import struct

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.io import FORMATS, encode_picture, format_of, open_picture, read_text, save_picture

RED = (200, 30, 40)


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return open_picture(tmp_path / name)


def middle(image):
    return image.getpixel((image.width // 2, image.height // 2))


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    image = Image.new("RGB", (8, 4), "white")
    image.putpixel((0, 0), RED)
    turned = saved(tmp_path, image, "x.png", exif=exif)
    assert turned.size == (4, 8) and turned.getpixel((3, 0)) == RED


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "L", "1", "YCbCr"])
def test_opaque_modes_become_rgb(tmp_path, mode):
    if mode == "YCbCr" and int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("Pillow before 13 does not read the TIFFs of this mode that it writes")
    image = Image.new("RGB", (8, 8), "white").convert(mode)
    opened = saved(tmp_path, image, "x.tiff")
    assert opened.mode == "RGB" and min(middle(opened)) > 250


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_kept(tmp_path, mode):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    name = "x.png" if mode != "PA" else "x.tiff"
    if mode == "PA":
        image = image.convert("RGBA")
    opened = saved(tmp_path, image, name)
    assert opened.mode == "RGBA" and middle(opened)[3] == 0


@pytest.mark.parametrize(("dtype", "full"), [(np.uint16, 65535), (np.int32, 65535), (np.float32, 1.0)])
def test_deep_greys_are_scaled_not_clipped(tmp_path, dtype, full):
    ramp = np.linspace(0, full, 64).astype(dtype).reshape(8, 8)
    opened = saved(tmp_path, Image.fromarray(ramp), "x.tiff")
    grey = np.asarray(opened)[..., 0].ravel()
    assert grey[0] == 0 and grey[-1] == 255 and abs(int(grey[32]) - 129) <= 2


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), "blue")
    opened = saved(tmp_path, first, "x.webp", save_all=True, append_images=[second], lossless=True)
    assert middle(opened)[:3] == RED


def test_colour_profiles_are_applied(tmp_path):
    lab_free = Image.new("RGB", (8, 8), (120, 200, 80))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = saved(tmp_path, lab_free, "x.png", icc_profile=profile)
    assert max(abs(x - y) for x, y in zip(middle(same), (120, 200, 80), strict=True)) <= 1
    broken = saved(tmp_path, lab_free, "y.png", icc_profile=b"no profile")
    assert middle(broken) == (120, 200, 80)


def test_every_bad_file_is_an_image_error(tmp_path):
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(whole, "JPEG")
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0) + b"\0\0\0\0"
    bad = {
        "text.png": b"just words",
        "cut.jpg": whole.getvalue()[:900],
        "empty.png": b"",
        "bomb.png": bomb,
        "header.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    }
    for name, body in bad.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(ImageError, match=name) as caught:
            open_picture(tmp_path / name)
        assert "\n" not in caught.value.message and caught.value.hint
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        open_picture(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="standard input"):
        open_picture(io.BytesIO(b"words"))


@pytest.mark.parametrize("format", FORMATS)
def test_formats_keep_image_and_text(tmp_path, format):
    image = Image.new("RGB", (16, 16), RED)
    save_picture(image, tmp_path / f"x.{format}", text={"ddbm": '{"seed": 0, "name": "é"}'})
    opened = open_picture(tmp_path / f"x.{format}")
    assert max(abs(x - y) for x, y in zip(middle(opened), RED, strict=True)) <= 4
    if format != "avif":
        assert read_text(tmp_path / f"x.{format}")["ddbm"].startswith('{"seed": 0')


def test_quality_changes_the_file():
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    for format in ("jpg", "webp", "avif"):
        assert len(encode_picture(noise, format, quality=30)) < len(encode_picture(noise, format, quality=95))


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    image = Image.new("RGB", (8, 8))
    save_picture(image, tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(ImageError, match="No space left"):
        save_picture(Image.new("RGB", (9, 9)), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot write"):
        save_picture(Image.new("RGB", (8, 8)), tmp_path / "x.xyz")
    assert format_of(tmp_path / "x.JPEG") == "jpg" and format_of(tmp_path / "x.bmp") is None


def test_text_of_foreign_files_is_empty(tmp_path):
    (tmp_path / "x.png").write_bytes(b"words")
    assert read_text(tmp_path / "x.png") == {}
