"""Trainings from the command line, from the images to the result."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from tests.tiny import write_pairs
from tests.training.test_training import SMALLEST

TINY = ["--network", SMALLEST, "--size", "16", "-b", "4", "--steps", "2", "-d", "cpu", "--no-progress"]


def ddbm(folder, *arguments):
    """Run the command in a folder."""
    command = [sys.executable, "-m", "ddbm_cli", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 8)
    return tmp_path


@pytest.mark.parametrize("path", ["ve-bridge", pytest.param("rectified", marks=pytest.mark.slow)])
def test_an_unconditional_bridge_is_trained_and_sampled(root, path):
    trained = ddbm(root, "train", "pairs/", "--task", "prior", "--path", path, "-o", "runs/noise", *TINY)
    assert trained.returncode == 0, trained.stderr
    card = read_card(read_header(root / "runs" / "noise" / "model.safetensors"), file="model")
    assert card.kind == "prior" and card.path["name"] == path and card.defaults["start"]["name"] == "prior"
    sampled = ddbm(root, "sample", "-n", "3", "-o", "samples/", "-m", "runs/noise", "--nfe", "5", "-d", "cpu")
    assert sampled.returncode == 0, sampled.stderr
    images = [Image.open(file) for file in sorted((root / "samples").glob("*.png"))]
    assert len(images) == 3 and len({image.tobytes() for image in images}) == 3
    assert all(image.size == (16, 16) for image in images)


def test_pix2pix_at_16_pixels_is_trained_and_translates_in_one_evaluation(root):
    options = [*TINY[2:], "--objective", "pix2pix:channels=8", "--network", "pix2pix:channels=8,depth=4"]
    trained = ddbm(root, "train", "pairs/", "-o", "runs/small", *options)
    assert trained.returncode == 0, trained.stderr
    done = ddbm(root, "translate", "pairs/A", "out/", "-m", "runs/small", "-d", "cpu", "-q")
    assert done.returncode == 0 and len(list((root / "out").glob("*.png"))) == 8, done.stderr


def test_resume_without_a_folder_resumes_the_newest_run(root):
    for name in ("first", "second"):
        assert ddbm(root, "train", "pairs/", "-o", f"runs/{name}", *TINY).returncode == 0
    done = ddbm(root, "train", "--resume", "--steps", "3", "-d", "cpu", "--no-progress")
    assert done.returncode == 0 and "runs/second" in done.stderr, done.stderr
