"""`ddbm train` on data as they should not be: one line what, one line what to do, and no run folder."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.imaging.walk import list_images
from tests.tiny import SMALLEST, picture, write_pairs


def shapes(root):
    write_pairs(root, 6)
    for file in (root / "B").iterdir():
        Image.new("RGB", (40, 16)).save(file)


def unpaired(root):
    write_pairs(root, 3)
    for index, file in enumerate((root / "A").iterdir()):
        file.rename(root / "A" / f"other{index}.png")


def damaged(root):
    write_pairs(root, 3)
    for file in (root / "A").iterdir():
        file.write_bytes(file.read_bytes()[:50])


def nested(root):
    for name in "xyz":
        (root / name).mkdir()
        picture(0).save(root / name / "1.png")


@pytest.mark.parametrize(
    ("make", "options", "code", "words", "hint"),
    [
        (lambda root: None, (), 2, "it holds no images", "put pairs under the same file name"),
        (lambda root: root.rmdir(), (), 2, "no such file or folder", "check the path"),
        (unpaired, (), 2, "no pairs to train on", "a pair is two images of the same file name"),
        (nested, (), 2, "unknown layout; it holds x/, y/, z/", "put pairs under the same file name"),
        (damaged, (), 1, "3 of 3 pairs cannot be used", "save or download it again"),
        (shapes, (), 1, "40x16 pixels differ in their proportions", "--fit stretch"),
        (lambda root: write_pairs(root, 3), ("--augment", "twirl"), 2, "twirl", "choose from"),
        (lambda root: write_pairs(root, 3), ("--source", "degrade:rain"), 2, "degrade:rain", "choose one of"),
        (lambda root: write_pairs(root, 3), ("--direction", "btoa"), 2, "btoa", "BtoA"),
        (lambda root: write_pairs(root, 3), ("--size", "big"), 2, "must be a size in pixels", "256x192"),
    ],
)
def test_bad_data_and_options(ddbm, tmp_path, monkeypatch, make, options, code, words, hint):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data"
    root.mkdir()
    make(root)
    found, _, err = ddbm("train", "data", "-o", "run", "--steps", "1", "--size", "16", *options)
    assert found == code and words in err and hint in err, err
    lines = [line for line in err.splitlines() if line.strip()]
    assert "Traceback" not in err and "unexpected" not in err.lower() and "Hint:" in lines[-1]
    assert not (tmp_path / "run").exists()


def test_one_pair_trains_and_says_that_nothing_is_held_out(ddbm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "data", 1)
    code, _, err = ddbm("train", "data", "--size", "16", "--network", SMALLEST, "--dry-run")
    assert code == 0 and "1 pairs to train on, 0 held out" in err and "nothing is held out" in err


def test_unusable_and_exchanged_pairs_are_named_with_what_to_do(ddbm, tmp_path, monkeypatch):
    """A damaged file and a pair of two shapes in the middle, in folders that are exchanged."""
    monkeypatch.chdir(tmp_path)
    for side, mode in (("A", "RGB"), ("B", "L")):
        (tmp_path / "data" / side).mkdir(parents=True)
        for index in range(14):
            Image.new("RGB", (16, 16), (200, 10 * index, 30)).convert(mode).save(
                tmp_path / f"data/{side}/{index:03d}.png"
            )
    file = tmp_path / "data/B/004.png"
    file.write_bytes(file.read_bytes()[:45])
    Image.new("L", (40, 16)).save(tmp_path / "data/B/005.png")
    options = ("--size", "16", "--steps", "1", "-b", "2", "--val-share", "0.2", "--network", SMALLEST, "-d", "cpu")
    code, _, err = ddbm("train", "data", "-o", "run", "--tracker", "none", *options)
    lines = dict(line.split(maxsplit=1) for line in err.splitlines() if line.strip())
    assert code == 0 and "2 unusable" in lines["Data"]
    assert "damaged image" in lines["Unusable"] and "differ in their proportions" in lines["Unusable"]
    assert lines["Unusable"].endswith("see ddbm data check")
    assert "sources have colours, and their targets have none; if the sides are exchanged" in lines["Direction"]
    code, _, err = ddbm("train", "data", "-o", "right", "--tracker", "none", "--direction", "BtoA", *options)
    assert code == 0 and "Direction" not in err


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of folders are those of POSIX")
def test_a_folder_without_the_right_to_write(ddbm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "data", 3)
    real = Path.mkdir

    def mkdir(path, *given, **named):  # root may write everywhere
        if path.name == "run":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        real(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    code, _, err = ddbm("train", "data", "-o", "run", "--size", "16", "--steps", "1", "-b", "2", "-d", "cpu")
    assert code == 1 and err.splitlines()[-2:] == [
        "Error: run: cannot be written: Permission denied",
        "  Hint: choose another folder with -o",
    ]


def test_mixed_formats_sizes_and_depths_train_and_translate(ddbm, tmp_path, monkeypatch):
    """What a new user brings: every format, size and orientation, one file broken, one alone."""
    monkeypatch.chdir(tmp_path)
    for side in ("source", "target"):
        (tmp_path / "own" / side).mkdir(parents=True)
    kinds = ("jpg", "png", "webp", "tiff", "bmp", "gif")
    for index in range(24):
        size = ((64, 48), (48, 64), (40, 40), (30, 20), (90, 30))[index % 5]
        pixels = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        for side, shift in (("source", 0), ("target", 1)):
            kind = kinds[(index + shift) % len(kinds)]
            made = image.convert("CMYK") if kind == "jpg" and index % 2 else image
            made.save(tmp_path / "own" / side / f"{index:02d}.{kind}")
    (tmp_path / "own/target/03.bmp").write_bytes(b"BM broken")
    image.save(tmp_path / "own/source/alone.png")
    assert ddbm("data", "check", "own", "--fix", "good.csv")[0] == 3
    options = ("--size", "16", "--steps", "2", "-b", "4", "--network", SMALLEST, "-d", "cpu")
    code, _, err = ddbm("train", "good.csv", "-o", "run", *options)
    assert code == 0 and "unusable" not in err, err
    assert ddbm("translate", "own/source", "out", "-m", "run")[0] == 0
    made = {name.stem for name in list_images(tmp_path / "out").names}
    assert made == {"alone", *(f"{index:02d}" for index in range(24))}
