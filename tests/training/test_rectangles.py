"""Sizes other than squares: from the option through data, network, card and translation to the output."""

import json

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import load_model
from ddbm_cli.options.check import from_options
from ddbm_cli.options.data import PreviewRequest
from tests.tiny import SMALLEST

SMALL = ("--network", SMALLEST, "-d", "cpu")
WIDE = Preprocess(size=(24, 16), fit="pad")


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side in "AB":
        (tmp_path / "p" / side).mkdir(parents=True)
        for index in range(8):
            pixels = np.random.default_rng(index).integers(0, 200, (32, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "p" / side / f"{index}.png")
    return tmp_path / "p"


@pytest.mark.parametrize(
    ("fit", "size", "box", "natural", "original"),
    [
        ("pad", (48, 32), (0, 0, 24, 16), (24, 16), (48, 32)),
        ("pad", (32, 32), (4, 0, 20, 16), (16, 16), (32, 32)),
        ("pad", (96, 32), (0, 4, 24, 12), (24, 8), (96, 32)),
        ("crop", (32, 32), (0, 0, 24, 16), (24, 16), (32, 21)),
        ("crop", (96, 32), (0, 0, 24, 16), (24, 16), (48, 32)),
        ("stretch", (32, 32), (0, 0, 24, 16), (16, 16), (32, 32)),
    ],
)
def test_positions_of_images_on_a_rectangle(fit, size, box, natural, original):
    preprocess = Preprocess(size=(24, 16), fit=fit)
    tensor, placement = preprocess.forward(Image.new("RGB", size, (10, 20, 30)))
    assert tensor.shape == (3, 16, 24) and tuple(placement) == (box, natural, original)
    inside = tensor[:, box[1] : box[3], box[0] : box[2]]
    assert (inside < -0.7).all() and (tensor == 1).any() == (box != (0, 0, 24, 16))
    assert preprocess.inverse(tensor, placement).size == natural
    assert preprocess.inverse(tensor, placement, keep_size=True).size == original


def test_sides_and_words():
    assert (WIDE.width, WIDE.height, WIDE.words) == (24, 16, "24x16")
    assert Preprocess(size=16).words == "16x16"


@pytest.mark.parametrize(
    ("given", "size"), [("64", 64), ("256x192", (256, 192)), ("64X64", 64), ([32, 16], (32, 16)), (48, 48)]
)
def test_a_size_is_a_number_or_width_and_height(given, size):
    assert from_options(PreviewRequest, {"data": ("p",), "size": given}, command="data preview").size == size


@pytest.mark.parametrize("given", ["4", "256x", "x", "256x192x3", "axb", "256x4", "1e3", "-64", "0x0", (1, 2, 3), ()])
def test_other_sizes_are_refused_in_words(given):
    with pytest.raises(UsageError, match="--size must be a size in pixels") as error:
        from_options(PreviewRequest, {"data": ("p",), "size": given}, command="data preview")
    assert "256x192" in error.value.hint


def test_from_training_to_translation(ddbm, pairs):
    run = ("train", pairs, "--size", "24x16", "--steps", "2", "-b", "2", "-o", "run", *SMALL)
    code, _, err = ddbm(*run)
    assert code == 0 and "24x16 pixels, fit" in err and "do not have the proportions of 24x16" in err, err
    model = load_model("run/model.safetensors", device="cpu")
    assert model.card.preprocess.size == (24, 16)
    assert json.loads((pairs.parent / "run/config.json").read_text())["size"] == [24, 16]
    assert ddbm(*run)[0] == 0 and ddbm("train", "--resume", "run", "--steps", "3")[0] == 0
    code, _, err = ddbm("translate", pairs / "A", "out", "-m", "run", "-b", "3")
    assert code == 0 and "24x16" in err
    assert {Image.open(file).size for file in (pairs.parent / "out").glob("*.png")} == {(24, 16)}
    assert ddbm("translate", pairs / "A", "kept", "-m", "run", "--keep-size")[0] == 0
    assert {Image.open(file).size for file in (pairs.parent / "kept").glob("*.png")} == {(48, 32)}


def test_from_a_prior_to_samples(ddbm, pairs):
    code, _, err = ddbm(
        "train", pairs, "--task", "prior", "--size", "16x24", "--steps", "2", "-b", "2", "-o", "run", *SMALL
    )
    assert code == 0, err
    assert ddbm("sample", "-n", "2", "-o", "out", "-m", "run", "--nfe", "4")[0] == 0
    assert {Image.open(file).size for file in (pairs.parent / "out").glob("*.png")} == {(16, 24)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--size", "24x15"), "--size 24x15 does not fit this network"),
        (("--size", "24x12", "--source", "degrade:sr8"), "--size 24x12 does not fit degrade:sr8"),
    ],
)
def test_sizes_that_do_not_fit(ddbm, pairs, options, words):
    code, _, err = ddbm("train", pairs, "--dry-run", *SMALL, *options)
    assert code == 2 and words in err and "choose a multiple of" in err
