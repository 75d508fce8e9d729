"""A state dict tells its network's settings, or it is refused with a reason."""

import json
from types import SimpleNamespace

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.networks import ADMConfig, detect, normalise
from tests.networks.test_adm import RELEASED, SMALL, network

CONFIGS = [
    ADMConfig(**SMALL),
    ADMConfig(channels=8, multipliers=(1,), blocks=1, attention=()),
    ADMConfig(channels=8, multipliers=(1,), blocks=3, attention=(1,)),
    ADMConfig(channels=8, multipliers=(2, 1), blocks=2, attention=(1,)),
    ADMConfig(channels=8, multipliers=(1, 1, 1), blocks=2, attention=(1, 4)),
    ADMConfig(channels=48, multipliers=(1, 2, 2, 3), blocks=1, attention=(4, 8), head_channels=24, patch=2),
    ADMConfig(channels=8, multipliers=(1, 2), blocks=1, attention=(2,), patch=4, classes=10),
    ADMConfig(channels=8, multipliers=(1, 2), blocks=1, attention=(2,), in_channels=3),
    ADMConfig(channels=8, multipliers=(1, 2), blocks=1, attention=(2,), in_channels=2, out_channels=1),
    ADMConfig(channels=8, multipliers=(1, 2), blocks=1, attention=(2,), in_channels=3, out_channels=6),
]


def shapes(config):
    with torch.device("meta"):
        return config.create().state_dict()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_detection_is_the_inverse_of_creation(config):
    assert detect(shapes(config), head_channels=config.head_channels) == config


@pytest.mark.parametrize("name", RELEASED)
def test_released_checkpoints_are_known_by_their_shapes(name, golden):
    keys = json.loads((golden / f"keys.{name}.json").read_text())["keys"]
    assert detect({key: SimpleNamespace(shape=shape) for key, shape in keys.items()}) == RELEASED[name]


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_attention_weights_may_have_any_number_of_dimensions(dimensions):
    made = network()
    weights = normalise(made.state_dict(), dimensions=dimensions)
    assert {weights[name].ndim for name in weights if name.endswith(("qkv.weight", "proj_out.weight"))} == {dimensions}
    assert detect(weights, head_channels=8) == made.config
    again = normalise(weights)
    assert all(torch.equal(again[name], tensor) for name, tensor in made.state_dict().items())
    network(seed=1).load_state_dict(again)


def test_other_weights_are_left_as_they_are():
    made = network()
    odd = {"in_layers.2.weight": torch.zeros(4, 4, 3, 3), "x.qkv.weight": torch.zeros(6, 2, 3, 3), "b": torch.zeros(2)}
    for dimensions in (3, 4):
        assert all(normalise(odd, dimensions=dimensions)[name].shape == tensor.shape for name, tensor in odd.items())
    flat = normalise(made.state_dict(), dimensions=3)
    kept = [name for name in flat if not name.endswith(("qkv.weight", "proj_out.weight"))]
    assert all(flat[name].shape == made.state_dict()[name].shape for name in kept)


@pytest.mark.parametrize(
    "state",
    [{}, {"conv_in.weight": torch.zeros(8, 3, 3, 3)}, {"time_embed.0.weight": torch.zeros(3)}],
    ids=["empty", "other", "odd"],
)
def test_another_network_is_refused(state):
    with pytest.raises(ModelError, match="not those of an ADM U-Net"):
        detect(state)


@pytest.mark.parametrize("missing", ["time_embed.0.weight", "out.2.weight", "input_blocks.0.0.weight"])
def test_a_network_without_its_ends_is_refused(missing):
    state = shapes(ADMConfig(**SMALL))
    del state[missing]
    with pytest.raises(ModelError, match="not those of an ADM U-Net"):
        detect(state, head_channels=8)


def test_what_does_not_fit_is_named():
    state = shapes(ADMConfig(**SMALL))
    name = "middle_block.0.in_layers.2.weight"
    with pytest.raises(ModelError, match=r"1 parameters .* 2 levels, first 'extra' \(expected none, found \(1,\)\)"):
        detect(state | {"extra": torch.zeros(1)}, head_channels=8)
    with pytest.raises(ModelError, match=rf"first '{name}' \(expected \(32, 32, 3, 3\), found \(32, 16, 3, 3\)\)"):
        detect(state | {name: torch.zeros(32, 16, 3, 3)}, head_channels=8)
    del state[name]
    with pytest.raises(ModelError, match=rf"first '{name}' \(expected \(32, 32, 3, 3\), found none\)"):
        detect(state, head_channels=8)


def test_variants_that_are_not_built_are_refused():
    """Plain downsampling and shifts without scales have other names or shapes."""
    state = shapes(ADMConfig(**SMALL))
    plain = {name.replace("input_blocks.2.0.in_layers.2", "input_blocks.2.0.op"): each for name, each in state.items()}
    with pytest.raises(ModelError):
        detect(plain, head_channels=8)
    unscaled = {name: each[: len(each) // 2] if ".emb_layers." in name else each for name, each in state.items()}
    with pytest.raises(ModelError):
        detect(unscaled, head_channels=8)


def test_heads_that_do_not_fit_are_a_matter_of_the_model():
    state = shapes(ADMConfig(channels=26, multipliers=(1,), blocks=1, attention=(1,), head_channels=13))
    with pytest.raises(ModelError, match="cannot be shared"):
        detect(state, head_channels=8)
