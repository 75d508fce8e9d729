"""Folders in diffusers' layout: the same weights and card come back, and where it can, diffusers computes the same."""

import json

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import builtin_path, write_model
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.importers import import_file
from ddbm_cli.models.layout import CARD, CONFIG, WEIGHTS, write_folder
from ddbm_cli.networks import ADMConfig
from ddbm_cli.registry.locate import finish
from ddbm_cli.tasks.exchange import export_model
from tests.tiny import tiny_card, tiny_weights

THEIRS = {
    "name": "adm",
    "channels": 32,
    "multipliers": [1, 2, 3],
    "blocks": 2,
    "attention": [2],
    "head_channels": 16,
}
NETWORKS = {
    "theirs": THEIRS,
    "no attention": THEIRS | {"attention": []},
    "classes": THEIRS | {"classes": 5},
    "patches": THEIRS | {"patch": 2},
    "odd groups": THEIRS | {"channels": 48},
    "odd heads": THEIRS | {"head_channels": 48},
}


def pair(network):
    card = tiny_card(network=network, scores={"mse": 0.25}, limits="few")
    return card, tiny_weights(card)


@pytest.mark.parametrize("name", NETWORKS)
def test_import_export_import_is_a_circle(tmp_path, name):
    """Equal bytes of weights, an equal card, equal files."""
    card, weights = pair(NETWORKS[name])
    first, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_model(first, card, weights)
    assert finish(export_model(str(first), tmp_path / "folder", layout="diffusers")).loads == (
        name not in ("patches", "odd groups", "odd heads")
    )
    import_file(tmp_path / "folder", again)
    assert again.read_bytes() == first.read_bytes()
    finish(export_model(str(again), tmp_path / "c.safetensors"))
    assert (tmp_path / "c.safetensors").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("name", ["theirs", "no attention"])
def test_diffusers_computes_the_same(tmp_path, name):
    diffusers = pytest.importorskip("diffusers")
    card, weights = pair(NETWORKS[name])
    write_folder(tmp_path, card, weights)
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path / "unet").eval()
    config = ADMConfig(**{key: value for key, value in NETWORKS[name].items() if key != "name"})
    ours = config.create().eval()
    ours.load_state_dict(weights)
    x, time = torch.randn(2, 6, 16, 16), torch.tensor([3.7, 512.0])
    with torch.no_grad():
        wanted, found = ours(x, time), theirs(x, time).sample
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_the_built_in_model_comes_back(tmp_path):
    finish(export_model("sketch-to-3d-64", tmp_path / "folder", layout="diffusers"))
    import_file(tmp_path / "folder", tmp_path / "again.safetensors")
    (card, weights), (same, found) = read_model(builtin_path()), read_model(tmp_path / "again.safetensors")
    assert card == same and all(torch.equal(weights[name], found[name]) for name in weights)
    assert "ddbm translate" in (tmp_path / "folder" / "README.md").read_text()


def test_a_folder_of_others_wants_a_card(tmp_path):
    card, weights = pair(THEIRS)
    write_folder(tmp_path / "f", card, weights)
    (tmp_path / "f" / CARD).unlink()
    with pytest.raises(UsageError, match="the file has no model card"):
        import_file(tmp_path / "f", tmp_path / "m.safetensors")


@pytest.mark.parametrize("fault", ["config", "json", "weights", "none"])
def test_what_is_no_such_folder_is_explained(tmp_path, fault):
    card, weights = pair(THEIRS)
    write_folder(tmp_path / "f", card, weights)
    if fault == "config":
        body = json.loads((tmp_path / "f" / CONFIG).read_text())
        (tmp_path / "f" / CONFIG).write_text(json.dumps(body | {"resnet_time_scale_shift": "default"}))
    elif fault == "json":
        (tmp_path / "f" / CONFIG).write_text("{")
    elif fault == "weights":
        (tmp_path / "f" / WEIGHTS).write_bytes(b"?")
    else:
        (tmp_path / "f" / CONFIG).unlink()
    with pytest.raises(ModelError) as error:
        import_file(tmp_path / "f", tmp_path / "m.safetensors")
    assert error.value.hint and not (tmp_path / "m.safetensors").exists()


def test_types_are_converted(tmp_path):
    card, weights = pair(THEIRS)
    write_model(tmp_path / "a.safetensors", card, weights)
    for dtype, wanted in (("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        target = tmp_path / f"{dtype}.safetensors"
        finish(export_model(str(tmp_path / "a.safetensors"), target, dtype=dtype))
        assert {value.dtype for value in read_model(target)[1].values()} == {wanted}
    with pytest.raises(UsageError, match="exists already"):
        finish(export_model(str(tmp_path / "a.safetensors"), tmp_path / "fp16.safetensors"))
    with pytest.raises(UsageError, match="unknown format"):
        finish(export_model(str(tmp_path / "a.safetensors"), tmp_path / "x", layout="onnx"))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    """An interrupted export leaves all files of the folder, and no temporary ones."""
    card, weights = pair(THEIRS)
    folder = tmp_path / "folder"
    write_folder(folder, card, weights, readme="first")
    (folder / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as broken, pytest.raises(OSError, match="disk"):
        broken.setattr("ddbm_cli.models.layout.write_tensors", lambda *_, **__: (_ for _ in ()).throw(OSError("disk")))
        write_folder(folder, card, weights, readme="second")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    write_folder(folder, card, weights, readme="second")
    assert (folder / "README.md").read_text() == "second"
    assert (folder / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [folder]
