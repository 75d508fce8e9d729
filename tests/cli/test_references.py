"""`show`, `weights info` and -m take the same references."""

import json
import shutil
from pathlib import Path

import pytest

from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.card import describe_card
from ddbm_cli.models.layout import CARD, write_folder
from ddbm_cli.models.resolve import described
from ddbm_cli.tasks.show import show
from tests.tiny import NETWORK, tiny_card, tiny_weights, write_tiny


@pytest.fixture
def references(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "tiny.safetensors")
    Path("run").mkdir()
    shutil.copy("tiny.safetensors", "run/model.safetensors")
    shutil.copy("tiny.safetensors", "run/best.safetensors")
    write_folder(Path("folder"), tiny_card(), tiny_weights(tiny_card()))
    return ["tiny.safetensors", "run", "run/best.safetensors", "folder", "./folder/", "sketch-to-3d-64"]


def test_all_take_the_same_references(references):
    for reference in references:
        name = "sketch-to-3d-64" if reference == "sketch-to-3d-64" else "tiny"
        assert load_model(reference, device="cpu").card.name == name
        assert described(reference).name == show(Path(reference))["name"] == name
        assert show(Path(reference))["kind"] == "bridge"


def test_a_folder_makes_the_same_model_as_a_file(references):
    file, folder = (load_model(each, device="cpu") for each in ("tiny.safetensors", "folder"))
    weights = file.denoiser.network.state_dict()
    assert all((value == weights[name]).all() for name, value in folder.denoiser.network.state_dict().items())
    assert describe_card(file.card) == describe_card(folder.card) and folder.digest


def test_info_of_a_run_and_a_folder(ddbm, references):
    for reference in references:
        code, out, err = ddbm("weights", "info", reference)
        assert code == 0 and b"Task" in out, err
        assert ddbm("show", reference)[0] == 0
    (record,) = map(json.loads, ddbm("weights", "info", "run", "--json")[1].splitlines())
    assert "run/model.safetensors" in json.dumps(record)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_info_names_the_classes(ddbm, tmp_path, dropout):
    names = {"network": NETWORK | {"classes": 2}, "class_names": ("dress", "shoes"), "condition_dropout": dropout}
    write_tiny(tmp_path / "classed.safetensors", **names)
    out = ddbm("weights", "info", tmp_path / "classed.safetensors")[1].decode()
    assert "dress, shoes" in out
    assert ("may be left out" in out) == (dropout > 0) and ("--class dress" in out) == (dropout == 0)


def test_info_names_what_a_model_needs_or_offers(ddbm, tmp_path):
    """Directions, whose label is no class, and a text."""
    write_tiny(tmp_path / "both.safetensors", network=NETWORK | {"classes": 2}, directions=("AtoB", "BtoA"))
    out = ddbm("weights", "info", tmp_path / "both.safetensors")[1].decode()
    assert "AtoB, BtoA" in out and "--direction AtoB" in out and "--class" not in out
    from tests.models.test_vocabulary import text_card

    card = text_card()
    write_model(tmp_path / "text.safetensors", card, tiny_weights(card))
    assert '--prompt "TEXT"' in ddbm("weights", "info", tmp_path / "text.safetensors")[1].decode()


def test_a_diffusers_folder_without_a_card_is_explained(ddbm, references):
    (Path("folder") / CARD).unlink()
    for command in (["show"], ["weights", "info"]):
        code, _, err = ddbm(*command, "folder")
        assert code == 4 and "without a model card" in err
