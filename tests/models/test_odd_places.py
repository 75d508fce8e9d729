"""Paths that are no model files: pipes, devices, links to nowhere, locked and hostile folders. One line, at once."""

import json
import os
import time

import pytest

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.models import load_model
from ddbm_cli.models.importers import import_file
from ddbm_cli.models.layout import CARD, CONFIG, WEIGHTS
from tests.tiny import write_tiny

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such files")

DEEP = {
    "_class_name": "UNet2DModel",
    "in_channels": 6,
    "out_channels": 3,
    "block_out_channels": [4096] * 12,
    "layers_per_block": 64,
    "down_block_types": ["AttnDownBlock2D"] * 12,
    "attention_head_dim": 64,
    "sample_size": 64,
}


def folder(root, *, config="{}", card=None):
    """Write a folder in diffusers' layout with the weights of a tiny model."""
    (root / "unet").mkdir(parents=True)
    (root / CONFIG).write_text(config)
    write_tiny(root / WEIGHTS)
    if card is not None:
        (root / CARD).write_text(card)


def make(kind, place):
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "sparse":
        with place.open("wb") as file:
            file.truncate(2**30)
    elif kind == "link to itself":
        place.symlink_to(place.name)
    elif kind == "link to a device":
        place.symlink_to("/dev/zero")
    elif kind == "empty folder":
        place.mkdir()
    elif kind in ("locked file", "locked folder"):
        place.mkdir() if kind == "locked folder" else place.touch()
        place.chmod(0)
        if os.access(place, os.R_OK):
            pytest.skip("permissions do not bind this user")
    elif kind == "pipes in a folder":
        folder(place)
        for name in (CONFIG, CARD, WEIGHTS):
            (place / name).unlink(missing_ok=True)
            os.mkfifo(place / name)
    elif kind == "deep card":
        folder(place, card="[" * 100_000)
    elif kind == "large config":
        folder(place)
        with (place / CONFIG).open("wb") as file:
            file.truncate(2**30)
    elif kind == "deep network":
        folder(place, config=json.dumps(DEEP))
    elif kind == "wide network":
        folder(place, config=json.dumps(DEEP | {"block_out_channels": [10**12], "layers_per_block": 1}))


KINDS = [
    *("pipe", "sparse", "link to itself", "link to a device", "empty folder", "locked file", "locked folder"),
    *("pipes in a folder", "deep card", "large config", "deep network", "wide network"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", ".safetensors", ".pt"])
def test_what_is_no_model_is_refused_at_once(tmp_path, monkeypatch, kind, suffix):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / f"place{suffix}"
    make(kind, place)
    began = time.process_time()
    try:
        for use in (lambda: load_model(str(place)), lambda: import_file(place, tmp_path / "out.safetensors")):
            with pytest.raises(DdbmError) as caught:
                use()
            assert caught.value.hint and "\n" not in caught.value.message and len(caught.value.message) < 400
    finally:
        if kind.startswith("locked"):
            place.chmod(0o755)
    assert time.process_time() - began < 10
    assert not (tmp_path / "out.safetensors").exists()
    assert os.path.lexists(place)


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(DdbmError, match="not readable"):
        import_file(tmp_path / ("a" * 5000), tmp_path / "out.safetensors")


def test_a_path_below_a_link_to_nowhere_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(DdbmError, match="no such model file or folder"):
        load_model("gone/model")
