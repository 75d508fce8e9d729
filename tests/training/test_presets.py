"""Presets: complete settings under a name."""

import tomllib

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import declared
from ddbm_cli.foundation.settings import build
from ddbm_cli.networks import NETWORKS
from ddbm_cli.options.train import TrainCommand
from ddbm_cli.registry import read_registry
from ddbm_cli.tasks.train import request, run, settings_of
from ddbm_cli.tasks.train.request import PRESETS, SETTINGS
from tests.tiny import SMALLEST, write_pairs

NAMES = declared(TrainCommand)["preset"].choices


def test_every_file_has_a_name():
    assert sorted(NAMES) == sorted(file.stem for file in PRESETS.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_can_be_planned(name, tmp_path):
    data = write_pairs(tmp_path / "pairs", 4)
    made = request({"data": [data], "output": tmp_path / "run"}, preset=name)
    for setting, kinds in SETTINGS.items():
        build(kinds, getattr(made, setting), what=setting)
    stated = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    assert made.size == stated["size"] and made.recipe.steps == stated["recipe"]["steps"]


def test_the_printed_settings_give_the_same_request(tmp_path):
    made = request({"data": ["x"]}, preset="ddbm-e2h")
    (tmp_path / "printed.toml").write_text(settings_of(made))
    assert request({"data": ["x"]}, config=tmp_path / "printed.toml") == made


def test_options_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    (tmp_path / "c.toml").write_text("size = 48\n[recipe]\nsteps = 7\n")
    made = request({"data": ["x"], "recipe": {"steps": 8}}, config=tmp_path / "c.toml", preset="tiny")
    assert (made.size, made.recipe.steps, made.recipe.ema) == (48, 8, 0.99)
    with pytest.raises(UsageError, match="mutually exclusive"):
        request({}, resume=tmp_path, preset="tiny")


@pytest.mark.parametrize(("name", "entry"), [("ddbm-e2h", "edges2handbags-vp-64"), ("ddbm-diode", "diode-vp-256")])
def test_official_presets_have_the_settings_of_the_official_models(name, entry):
    """Whose losses and outputs are compared with the official code's by the tests of golden networks."""
    facts = next(each for key, each in read_registry().items() if key.endswith(entry)).facts()
    made = request({"data": ["x"]}, preset=name)
    for setting in ("path", "prediction"):
        assert build(SETTINGS[setting], getattr(made, setting), what=setting) == build(
            SETTINGS[setting], facts[setting], what=setting
        )
    assert build(NETWORKS, made.network, what="network") == build(NETWORKS, facts["network"], what="network")
    assert made.size == facts["preprocess"]["size"] and made.times == "uniform"


def test_a_preset_changes_the_run(tmp_path):
    write_pairs(tmp_path / "pairs", 4)
    asked = {"data": [tmp_path / "pairs"], "output": tmp_path / "run", "network": SMALLEST, "recipe": {"steps": 1}}
    list(run(request(asked | {"device": "cpu"}, preset="tiny")))
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_settings_are_printed_by_the_command(ddbm):
    code, out, err = ddbm("train", "--preset", "tiny", "--show", "--learning-rate", "0.002")
    assert code == 0, err
    printed = tomllib.loads(out.decode())
    assert printed["size"] == 32 and printed["recipe"]["learning_rate"] == 0.002
    code, _, err = ddbm("train", "pairs", "--preset", "tinny")
    assert code == 2 and "tiny" in err
