"""`ddbm data check` and `ddbm data preview`: what they find, what they write, and that nothing else changes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.training import Batches
from tests.tiny import write_pairs


def photo(index, size=(24, 24), colour=True):
    """Noise in large blocks, different for each index, with colours or without."""
    random = np.random.default_rng(index)
    blocks = random.integers(0, 255, (6, 6, 3 if colour else 1), dtype=np.uint8).repeat(3 if not colour else 1, axis=2)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side in "AB":
        (tmp_path / "p" / side).mkdir(parents=True)
    for index in range(20):
        photo(index, colour=False).save(tmp_path / f"p/A/{index:02d}.png")
        photo(index).save(tmp_path / f"p/B/{index:02d}.png")
    return tmp_path / "p"


def checked(ddbm, *arguments):
    """Return exit code, {check: its line}, and the errors of a check."""
    code, out, _ = ddbm("data", "check", *arguments, "--json", "--size", "16")
    lines = [json.loads(line) for line in out.decode().splitlines()]
    checks = {line["name"]: line for line in lines if line["event"] == "diagnosed"}
    return code, checks, [line["error"] for line in lines if line["event"] in ("failed", "error")]


def digest(root):
    return {
        str(file): (hashlib.sha256(file.read_bytes()).digest(), file.stat().st_mtime_ns)
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def test_good_data_pass_every_check_and_nothing_is_changed(ddbm, pairs):
    before = digest(pairs)
    code, checks, errors = checked(ddbm, pairs)
    assert code == 0 and not errors and all(line["ok"] for line in checks.values()), checks
    assert "19 pairs to train on, 1 held out" in checks["Pairs"]["found"]
    assert digest(pairs) == before and [file.name for file in Path().iterdir()] == ["p"]


def test_what_is_broken_is_a_failure_and_what_is_doubtful_is_not(ddbm, pairs):
    (pairs / "B/03.png").write_bytes((pairs / "B/03.png").read_bytes()[:80])
    photo(4, (48, 24)).save(pairs / "B/04.png")
    photo(99).save(pairs / "A/alone.png")
    code, checks, errors = checked(ddbm, pairs)
    assert code == 3 and len(errors) == 2
    assert any("B/03.png: damaged image" in text for text in errors)
    assert any("differ in their proportions" in text for text in errors)
    assert checks["Readable"]["found"] == "2 of 20 pairs cannot be used"
    assert checks["Unpaired"]["found"] == "1 (alone.png)" and not checks["Unpaired"]["ok"]


@pytest.mark.parametrize("change", ["copy", "jpeg", "larger"])
def test_identical_pairs_are_found_however_they_are_stored(ddbm, pairs, change):
    image = photo(5)
    if change == "jpeg":
        (pairs / "A/05.png").unlink()
        image = photo(5, (3, 3)).resize((96, 96), Image.Resampling.BICUBIC)
        image.save(pairs / "B/05.png")
        image.save(pairs / "A/05.jpg", quality=90)
    else:
        image.resize((48, 48) if change == "larger" else image.size, 0).save(pairs / "A/05.png")
    assert checked(ddbm, pairs)[1]["Identical"]["found"] == "1 (05)"


def test_pairs_of_restoration_are_not_identical(ddbm, pairs):
    for file in (pairs / "B").iterdir():
        image = Image.open(file)
        image.resize((12, 12), Image.Resampling.BOX).resize((24, 24), Image.Resampling.BICUBIC).save(
            pairs / "A" / file.name
        )
    assert checked(ddbm, pairs)[1]["Identical"]["found"] == "none"


def test_a_swapped_pair_is_found(ddbm, pairs):
    photo(7).save(pairs / "A/07.png")
    photo(7, colour=False).save(pairs / "B/07.png")
    assert checked(ddbm, pairs)[1]["Swapped"]["found"] == "1 (07)"


def test_swapped_folders_are_named_with_the_option_that_exchanges_them(ddbm, pairs):
    (pairs / "A").rename(pairs / "x")
    (pairs / "B").rename(pairs / "A")
    (pairs / "x").rename(pairs / "B")
    line = checked(ddbm, pairs)[1]["Direction"]
    assert not line["ok"] and "20 of 20 sources have colours" in line["found"] and "--direction BtoA" in line["hint"]
    assert checked(ddbm, pairs, "--direction", "BtoA")[1]["Direction"]["ok"]


def test_an_image_on_both_sides_of_the_split_and_a_repeated_pair(ddbm, pairs):
    for side in "AB":
        (pairs / "val" / side).mkdir(parents=True)
        (pairs / "train" / side).mkdir(parents=True)
        for file in (pairs / side).iterdir():
            file.rename(pairs / "train" / side / file.name)
        photo(3, colour=side == "B").save(pairs / "val" / side / "other.png")
        photo(8, colour=side == "B").save(pairs / "train" / side / "again.png")
    _, checks, _ = checked(ddbm, pairs)
    assert checks["In both"]["found"] == "1 (03)" and checks["Repeated"]["found"] == "1 (again)"


def test_unusual_files_are_counted(ddbm, pairs):
    for side in "AB":
        (pairs / side / "00.png").unlink()
        exif = Image.Exif()
        exif[0x0112] = 6
        photo(0).save(pairs / side / "00.jpg", exif=exif)
    (pairs / "B/01.png").unlink()
    photo(1).convert("CMYK").save(pairs / "B/01.jpg")
    photo(2).convert("RGBA").save(pairs / "B/02.png")
    Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 100).save(pairs / "A/03.png")
    found = checked(ddbm, pairs)[1]["Files"]["found"]
    assert all(words in found for words in ("2 rotated by EXIF", "1 CMYK", "1 transparent", "1 16-bit"))


def test_fix_writes_a_list_of_good_pairs_that_training_takes(ddbm, pairs):
    (pairs / "B/03.png").write_bytes(b"no image")
    photo(6).save(pairs / "A/06.png")
    before = digest(pairs)
    assert ddbm("data", "check", pairs, "--fix", "good.csv")[0] == 3
    assert digest(pairs) == before
    code, checks, _ = checked(ddbm, "good.csv")
    assert code == 0 and checks["Pairs"]["found"] == "17 pairs to train on, 1 held out"
    _, _, err = ddbm("train", "good.csv", "--dry-run", "--size", "16")
    assert "17 pairs to train on, 1 held out" in err
    code, _, err = ddbm("data", "check", pairs, "--fix", "good.csv")
    assert code == 2 and "exists already" in err


@pytest.mark.parametrize(
    ("make", "code", "words", "hint"),
    [
        (lambda root: None, 2, "unknown layout; it holds no images", "put pairs under the same file name"),
        (lambda root: write_pairs(root, 1), 0, "1 pairs to train on, 0 held out", "nothing is held out"),
        (
            lambda root: [photo(0).save(_made(root / side / f"{side}.png")) for side in "AB"],
            2,
            "2 images have no partner",
            "a pair is two images of the same file name",
        ),
        (lambda root: [_made(root / side / "1.png").write_text("x") for side in "AB"], 1, "no pair can be used", "see"),
    ],
)
def test_bad_data_get_one_line_what_and_one_line_what_to_do(ddbm, tmp_path, make, code, words, hint):
    (tmp_path / "bad").mkdir()
    make(tmp_path / "bad")
    found, out, err = ddbm("data", "check", tmp_path / "bad")
    text = out.decode() + err
    assert found == code and words in text and hint in text and "Traceback" not in text


def _made(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def test_the_preview_shows_what_the_network_gets(ddbm, pairs, monkeypatch):
    made = []
    get = Batches.__getitem__
    monkeypatch.setattr(Batches, "__getitem__", lambda self, step: made.append(get(self, step)) or made[-1])
    code, out, err = ddbm("data", "preview", pairs, "--size", "16", "-n", "4", "--step", "3", "--seed", "5")
    assert code == 0 and out.decode().strip() == "preview.png", err
    sheet = np.asarray(Image.open("preview.png")).astype(float)
    for place, side in enumerate((made[0].source[0], made[0].target[0])):
        left = 2 + place * 18
        expected = ((side.permute(1, 2, 0).numpy() + 1) * 127.5).round()
        assert np.abs(sheet[2:18, left : left + 16] - expected).max() <= 1
    code, _, err = ddbm("data", "preview", pairs)
    assert code == 2 and "preview.png exists already" in err


def test_the_preview_leaves_out_what_cannot_be_used(ddbm, pairs):
    file = pairs / "B" / "03.png"
    assert file.exists()
    file.write_bytes(file.read_bytes()[:60])
    code, _, err = ddbm("data", "preview", pairs, "--size", "16")
    assert code == 0 and "1 unusable" in err and "03.png" in err and "[2/1]" not in err


def test_an_unknown_augmentation_is_an_error(ddbm, pairs):
    code, _, err = ddbm("data", "preview", pairs, "--augment", "flip,twirl")
    assert code == 2 and "twirl" in err and "flip" in err.split("Hint:")[1]
