"""Files go in with profiles, EXIF data, 16 bits and several frames, and results keep what belongs to them."""

import io
import json

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.deep import encode_png16
from ddbm_cli.imaging.io import encode_picture, open_picture, read_text
from ddbm_cli.imaging.origin import KEPT, TAKEN, Origin, origin_of, srgb_profile
from ddbm_cli.models.load import load_file
from ddbm_cli.tasks.events import Failed, Kept, Noticed, Written
from ddbm_cli.tasks.translate import request, run
from tests.tasks.test_translate import kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_file(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"), device="cpu")


def made(tmp_path, model, source, output, **options):
    given = {"source": str(tmp_path / source), "output": tmp_path / output}
    return list(run(request(**given | options), model=model))


def photo(orientation=6):
    """EXIF data as a camera writes it: with a place, a serial number and an orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "A. Painter"
    exif[ExifTags.Base.Copyright] = "CC BY\x00"
    exif[ExifTags.Base.DateTime] = "2026:05:04 03:02:01"
    exif[ExifTags.Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.Exif)[TAKEN] = "2026:05:04 03:02:00"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "123456"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff", "avif"])
def test_exif_is_taken_over_without_place_serial_number_and_orientation(tmp_path, model, format):
    picture(1, 24).crop((0, 0, 24, 12)).save(tmp_path / "a.jpg", exif=photo())
    made(tmp_path, model, "a.jpg", f"b.{format}")
    with Image.open(tmp_path / f"b.{format}") as found:
        exif = found.getexif()
        assert found.size == (8, 16)  # turned
        assert exif[ExifTags.Base.Artist] == "A. Painter" and exif[ExifTags.Base.Copyright] == "CC BY"
        assert exif[ExifTags.Base.DateTime].startswith("2026")
        assert ExifTags.Base.Orientation not in exif or exif[ExifTags.Base.Orientation] == 1
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo) and ExifTags.Base.Make not in exif
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        assert ExifTags.Base.BodySerialNumber not in inner
        assert format == "tiff" or inner[TAKEN] == "2026:05:04 03:02:00"
    assert json.loads(read_text(tmp_path / f"b.{format}")["ddbm"])["source"] == "a.jpg"
    for level in ("basic", "none"):
        made(tmp_path, model, "a.jpg", f"{level}.{format}", metadata=level)
        with Image.open(tmp_path / f"{level}.{format}") as found:
            assert not {*found.getexif()} & KEPT


@pytest.mark.parametrize("format", ["png", "jpg", "webp", "tiff", "avif"])
def test_results_of_managed_colours_are_marked_as_srgb(tmp_path, model, format):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(1, 24).save(tmp_path / "a.png", icc_profile=profile)
    picture(1, 24).save(tmp_path / "plain.png")
    made(tmp_path, model, "a.png", f"b.{format}", noise_name="x")
    made(tmp_path, model, "plain.png", f"c.{format}", noise_name="x")
    with Image.open(tmp_path / f"b.{format}") as found, Image.open(tmp_path / f"c.{format}") as plain:
        assert np.array_equal(np.asarray(found), np.asarray(plain))  # the same pixels
        if format == "png":
            assert found.info["srgb"] == 0 and "srgb" not in plain.info
        else:
            tagged = ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(tagged) and not plain.info.get("icc_profile")


def test_the_profile_has_no_date():
    assert srgb_profile()[24:36] == bytes(12)
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())))


def test_an_image_without_exif_and_profile_has_the_bytes_it_always_had():
    assert encode_picture(picture(1), "png", origin=Origin()) == encode_picture(picture(1), "png")


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tiff", "a.png"])
def test_of_several_frames_the_first_is_used_and_it_is_said(tmp_path, model, name):
    frames = [picture(index, 24) for index in range(3)]
    options = {"lossless": True} if "webp" in name else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    frames[0].save(tmp_path / "first.png")
    events = made(tmp_path, model, name, "b.png", noise_name="x")
    assert any("several frames or pages: the first is used" in event.message for event in kinds(events, Noticed))
    silent = made(tmp_path, model, "first.png", "c.png", noise_name="x")
    assert not any("several" in event.message for event in kinds(silent, Noticed))
    assert open_picture(tmp_path / "b.png").tobytes() == open_picture(tmp_path / "c.png").tobytes()


def test_damaged_exif_changes_nothing(tmp_path):
    body = io.BytesIO()
    picture(1).save(body, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert origin_of(open_picture(body.getvalue())).exif == {}
    long = Image.Exif()
    long[ExifTags.Base.Artist] = "x" * 10_000 + "\x1b[31m"
    body = io.BytesIO()
    picture(1).save(body, "PNG", exif=long)
    assert origin_of(open_picture(body.getvalue())).exif == {ExifTags.Base.Artist: "x" * 500}


def deep(file):
    cv2 = pytest.importorskip("cv2")
    found = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(found, cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("channels", [3, 4])
def test_another_reader_gets_every_level_of_16_bits(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (7, 5, channels), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(encode_png16(pixels))
    assert np.array_equal(deep(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize(
    "options", [{}, {"keep_size": True}, {"alpha": "cut"}, {"prepare": "sketch", "keep_size": True}]
)
def test_results_of_16_bits_are_those_of_8_bits_with_more_levels(tmp_path, model, options):
    from tests.imaging.drawings import six

    (six() if "prepare" in options else picture(2, 40).crop((0, 0, 40, 30))).save(tmp_path / "a.png", exif=photo(1))
    options = options | {"steps": 2}
    made(tmp_path, model, "a.png", "8.png", **options)
    made(tmp_path, model, "a.png", "16.png", bits="16", **options)
    eight = np.asarray(Image.open(tmp_path / "8.png"), dtype=float) * 257
    sixteen = deep(tmp_path / "16.png")
    assert sixteen.dtype == np.uint16 and sixteen.shape == eight.shape
    assert len(np.unique(sixteen)) > 300
    if options.get("keep_size"):  # resizing clips and rounds 8 bits in between
        assert np.abs(sixteen - eight).mean() <= 257
    else:
        assert np.abs(sixteen - eight).max() <= 129
    record = json.loads(read_text(tmp_path / "16.png")["ddbm"])
    assert record["bits"] == 16 and Image.open(tmp_path / "16.png").getexif()[ExifTags.Base.Artist] == "A. Painter"
    events = made(tmp_path, model, "a.png", "16.png", bits="16", **options)
    assert kinds(events, Kept)[0].differs == ""
    assert kinds(made(tmp_path, model, "a.png", "16.png", **options), Kept)[0].differs == "another bits"


def test_16_bits_are_for_png(tmp_path, model, ddbm):
    picture(1, 24).save(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match="--bits 16 is for png, not jpg"):
        made(tmp_path, model, "a.jpg", "b.jpg", bits="16")
    code, _, err = ddbm("translate", tmp_path / "a.jpg", tmp_path / "b.png", "--bits", "12")
    assert code == 2 and "--bits 12" in err and "choose one of: 8, 16" in err


@pytest.mark.parametrize(
    "name", ["cmyk.jpg", "palette.png", "grey16.png", "rgb16.png", "bilevel.tiff", "a.avif", "a.heic"]
)
def test_kinds_of_files_are_translated(tmp_path, model, name):
    image = picture(1, 40)
    if name == "rgb16.png":
        values = np.asarray(image).astype(np.uint16) * 257
        (tmp_path / name).write_bytes(encode_png16(values))
    elif name == "grey16.png":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(tmp_path / name)
    elif name == "a.heic":
        pytest.importorskip("pillow_heif")
        image.save(tmp_path / name, "HEIF")
    else:
        mode = {"cmyk.jpg": "CMYK", "palette.png": "P", "bilevel.tiff": "1"}.get(name, "RGB")
        image.convert(mode).save(tmp_path / name)
    events = made(tmp_path, model, name, "out/")
    assert len(kinds(events, Written)) == 1 and not kinds(events, Failed)
    if name in ("palette.png", "bilevel.tiff"):  # these lose colours when they are saved
        image = Image.open(tmp_path / name).convert("RGB")
    elif name == "grey16.png":
        image = image.convert("L").convert("RGB")
    shown = np.asarray(open_picture(tmp_path / name), dtype=float)
    assert np.abs(shown - np.asarray(image, dtype=float)).mean() < 8
