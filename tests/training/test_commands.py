"""Trainings from the command line, from the images to the result."""

import pytest
from PIL import Image

from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from tests.tiny import SMALLEST, write_pairs

TINY = ["--network", SMALLEST, "--size", "16", "-b", "4", "--steps", "2", "-d", "cpu", "--no-progress"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_pairs(tmp_path / "pairs", 8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def succeed(ddbm):
    """Run the command, which must end without an error; return what it writes to standard error."""

    def run(*arguments):
        code, _, err = ddbm(*arguments)
        assert code == 0, err
        return err

    return run


@pytest.mark.parametrize("path", ["ve-bridge", pytest.param("rectified", marks=pytest.mark.slow)])
def test_an_unconditional_bridge_is_trained_and_sampled(root, succeed, path):
    succeed("train", "pairs/", "--task", "prior", "--path", path, "-o", "runs/noise", *TINY)
    card = read_card(read_header(root / "runs" / "noise" / "model.safetensors"), file="model")
    assert card.kind == "prior" and card.path["name"] == path and card.defaults["start"]["name"] == "prior"
    succeed("sample", "-n", "3", "-o", "samples/", "-m", "runs/noise", "--nfe", "5", "-d", "cpu")
    images = [Image.open(file) for file in sorted((root / "samples").glob("*.png"))]
    assert len(images) == 3 and len({image.tobytes() for image in images}) == 3
    assert all(image.size == (16, 16) for image in images)


def test_pix2pix_at_16_pixels_is_trained_and_translates_in_one_evaluation(root, succeed):
    options = [*TINY[2:], "--objective", "pix2pix:channels=8", "--network", "pix2pix:channels=8,depth=4"]
    succeed("train", "pairs/", "-o", "runs/small", *options)
    succeed("translate", "pairs/A", "out/", "-m", "runs/small", "-d", "cpu", "-q")
    assert len(list((root / "out").glob("*.png"))) == 8


def test_resume_without_a_folder_resumes_the_newest_run(root, succeed):
    for name in ("first", "second"):
        succeed("train", "pairs/", "-o", f"runs/{name}", *TINY)
    assert "runs/second" in succeed("train", "--resume", "--steps", "3", "-d", "cpu", "--no-progress")
