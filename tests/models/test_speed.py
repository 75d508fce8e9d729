"""The number type of large networks on a CPU: measured once, remembered, and never for small ones."""

import dataclasses
import json

import pytest
import torch

from ddbm_cli.foundation.settings import build
from ddbm_cli.models import assemble, builtin_path, load, load_model, memory, selfcheck, speed
from ddbm_cli.networks import NETWORKS, ADMConfig, packed
from ddbm_cli.networks.blocks import Conv
from ddbm_cli.samplers import NoiseSource, finish
from tests.tiny import tiny_card, write_tiny


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DDBM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def gain(monkeypatch):
    """Networks of any size count as large, and their gain is this list's last."""
    gains, asked = [2.0], []
    monkeypatch.setattr(speed, "LEAST_PARAMETERS", 0)

    def timed(*arguments):
        asked.append(arguments)
        return gains[-1]

    monkeypatch.setattr(speed, "_timed", timed)
    return gains, asked


def test_the_faster_type_is_chosen_and_measured_once(tmp_path, home, gain):
    gains, asked = gain
    file = write_tiny(tmp_path / "m.safetensors")
    first, second = load_model(file, device="cpu"), load_model(file, device="cpu")
    assert first.dtype == second.dtype == torch.bfloat16 and len(asked) == 1
    assert first.speed.now and not second.speed.now and "2 times" in first.speed.words
    assert asked[0][0].blocks == 1 and asked[0][0].channels == tiny_card().network["channels"] // 2
    gains.append(1.1)
    other = write_tiny(tmp_path / "o.safetensors", network=tiny_card().network | {"channels": 32})
    model = load_model(other, device="cpu")
    assert model.dtype == torch.float32 and len(asked) == 2 and model.speed.words == ""


def test_a_network_whose_heads_need_all_channels_is_timed_with_them():
    config = ADMConfig(channels=32, multipliers=(1, 3), head_channels=16)
    assert speed._smaller(config) == dataclasses.replace(config, blocks=1, channels=16)
    odd = ADMConfig(channels=28, multipliers=(1,), head_channels=4)
    assert speed._smaller(odd) == dataclasses.replace(odd, blocks=1)


def test_what_is_asked_for_is_not_measured(tmp_path, home, gain):
    file = write_tiny(tmp_path / "m.safetensors")
    assert load_model(file, device="cpu", dtype="fp32").dtype == torch.float32
    assert load_model(file, device="cpu", dtype="bf16").dtype == torch.bfloat16 and not gain[1]


def test_small_networks_are_not_measured(home):
    model = load_model(None, device="cpu")
    assert model.dtype == torch.float32 and model.speed is None and not (home / "data" / "speed.json").exists()


@pytest.mark.parametrize("body", ["", "[]", "{", '{"a": "b", "c": true, "d": -1, "e": 1e9}', "\0" * 100, "x" * 2**17])
def test_a_damaged_file_is_measured_again(tmp_path, home, gain, body):
    (home / "data").mkdir(parents=True)
    (home / "data" / "speed.json").write_text(body)
    assert load_model(write_tiny(tmp_path / "m.safetensors"), device="cpu").speed.now
    assert 2.0 in json.loads((home / "data" / "speed.json").read_text()).values()


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path, home, gain):
    home.write_text("a file, not a folder")
    assert load_model(write_tiny(tmp_path / "m.safetensors"), device="cpu").dtype == torch.bfloat16


def test_both_types_are_timed():
    config = build(NETWORKS, tiny_card().network, what="network")
    state = torch.get_rng_state()
    assert 0.001 < speed._timed(config, 16, 16) < 1000
    assert torch.equal(torch.get_rng_state(), state)
    classes = dataclasses.replace(config, classes=3)
    assert 0.001 < speed._timed(classes, 16, 16) < 1000
    assert speed.measure(tiny_card(), assemble(tiny_card()).network) is None


def convolutions(model):
    return [each for each in model.denoiser.network.modules() if isinstance(each, Conv)]


def test_the_weights_of_loaded_models_are_packed_where_there_is_room(tmp_path, home, monkeypatch):
    file = write_tiny(tmp_path / "m.safetensors")
    assert all(each.packed for each in convolutions(load.load_file(file, device="cpu")))
    assert not any(each.packed for each in convolutions(load.load_file(file, device="cpu", packed=False)))
    loaded = []
    monkeypatch.setattr(
        selfcheck,
        "self_check",
        lambda model, _: loaded.append(model) or selfcheck.SelfCheck(figures={}, fingerprint=(), faults=()),
    )
    selfcheck.check_file(file)
    assert not any(each.packed for each in convolutions(loaded[0])), "checked once: the memory is not worth it"
    monkeypatch.setattr(memory, "memory_of", lambda device: 1000)
    assert not any(each.packed for each in convolutions(load.load_file(file, device="cpu")))


@pytest.mark.parametrize("least", [packed.LEAST_CHANNELS, 1], ids=["as it is", "Winograd's algorithm where it fits"])
def test_the_change_of_images_is_small(least, monkeypatch):
    """Of the built-in model at its default budget, in levels of 255."""
    monkeypatch.setattr(packed, "LEAST_CHANNELS", least)
    source = torch.ones(1, 3, 64, 64)
    source[:, :, 20:44, 20] = source[:, :, 20:44, 43] = source[:, :, 20, 20:44] = source[:, :, 43, 20:44] = -1
    made = {}
    for dtype in ("fp32", "bf16"):
        model = load_model(builtin_path(), device="cpu", dtype=dtype)
        made[dtype] = finish(model.translate(source, NoiseSource(0, ["a"]), model.plan())).clamp(-1, 1)
    levels = 127.5 * (made["bf16"] - made["fp32"]).abs()
    assert 0 < float(levels.mean()) < 1 and float(levels.max()) < 8
