"""Runs that begin with the weights of another model."""

import dataclasses
import json
from itertools import islice

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Noticed
from ddbm_cli.models import assemble, load_model
from ddbm_cli.models.start_from import start_from
from ddbm_cli.networks.unet import filled
from ddbm_cli.tasks.train import request, run
from tests.tiny import TWO_LEVELS, tiny_card, tiny_weights, write_pairs, write_tiny
from tests.training.test_training import same, weights


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


@pytest.fixture
def model(root):
    return write_tiny(root / "base.safetensors", network=TWO_LEVELS, path={"name": "vp-bridge", "beta_d": 1.5})


def begin(root, model, output="run", **recipe):
    body = {"data": [root / "pairs"], "output": root / output, "val_share": 0.3, "device": "cpu"}
    recipe = {"steps": 4, "batch_size": 4, "warmup": 1, "save_every": 1} | recipe
    return request({**body, "recipe": recipe, "start_from": str(model)})


def test_it_begins_where_the_model_ended(root, model):
    list(run(begin(root, model, steps=1, learning_rate=1e-12, weight_decay=0.0, ema=0.0)))
    made, base = (load_model(file, device="cpu") for file in (root / "run" / "model.safetensors", model))
    assert (made.denoiser.path, made.denoiser.prediction) == (base.denoiser.path, base.denoiser.prediction)
    assert made.card.preprocess.size == 16 and made.card.training["started_from"] == "base.safetensors"
    before = base.denoiser.network.state_dict()
    for name, tensor in made.denoiser.network.state_dict().items():
        assert torch.allclose(tensor, before[name], rtol=1e-3, atol=1e-3), name  # weights are saved in half precision


def test_a_prior_becomes_a_bridge_that_does_as_the_prior_did(root):
    prior = tiny_card(network=TWO_LEVELS | {"in_channels": 3}, kind="prior", concat_source=False)
    file = write_tiny(root / "prior.safetensors", network=prior.network, kind="prior", concat_source=False)
    bridge, before = (assemble(card).network.eval() for card in (tiny_card(network=TWO_LEVELS), prior))
    before.load_state_dict(tiny_weights(prior))
    started = start_from(bridge, file)
    assert started.notes == ("the weights of the source's channels are new",)
    assert started.adapted == {"input_blocks.0.0.weight": "16x12x3x3 -> 16x24x3x3"}
    assert started.new == started.unused == ()
    x, source, time = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16), torch.tensor([100.0])
    assert torch.allclose(bridge(torch.cat([x, source], 1), time), before(x, time), atol=1e-4)


def test_classes_are_learnt_from_scratch(model):
    network = assemble(tiny_card(network=TWO_LEVELS | {"classes": 4})).network
    fresh = network.label_emb.weight.clone()
    started = start_from(network, model)
    assert started.notes == ("the weights of classes are new",) and started.new == ("label_emb.weight",)
    assert torch.equal(network.label_emb.weight, fresh)


def test_known_classes_keep_their_embeddings(root):
    base = TWO_LEVELS | {"classes": 3}
    file = write_tiny(root / "classes.safetensors", network=base, class_names=("cat", "dog", "hat"))
    network = assemble(tiny_card(network=TWO_LEVELS | {"classes": 2})).network
    fresh = network.label_emb.weight.clone()
    started = start_from(network, file, ("bag", "dog"))
    before = tiny_weights(tiny_card(network=base))["label_emb.weight"]
    assert started.notes == ("of the classes 1 of 2 are those of the model",)
    assert torch.equal(network.label_emb.weight[0], fresh[0])
    assert torch.equal(network.label_emb.weight[1], before[1])


def test_classes_that_are_no_longer_used_are_named(root):
    file = write_tiny(root / "classes.safetensors", network=TWO_LEVELS | {"classes": 3})
    assert start_from(assemble(tiny_card(network=TWO_LEVELS)).network, file).unused == ("label_emb.weight",)


def test_layers_of_another_width_are_adapted_and_named(root, model):
    """The last level is wider: the channels that both have are copied, further inputs are zero."""
    network = assemble(tiny_card(network=TWO_LEVELS | {"multipliers": [1, 3]})).network
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    started, old = start_from(network, model), tiny_weights(tiny_card(network=TWO_LEVELS))
    now = network.state_dict()
    same = "input_blocks.1.0.in_layers.2.weight"
    assert torch.equal(now[same], old[same]) and same not in started.adapted
    wide = "input_blocks.3.0.out_layers.3.weight"
    assert started.adapted[wide] == "32x32x3x3 -> 48x48x3x3"
    assert torch.equal(now[wide][:32, :32], old[wide]) and not now[wide][:32, 32:].any()
    qkv = "input_blocks.3.1.qkv.weight"
    assert torch.equal(now[qkv][48:80, :32], old[qkv][32:64])  # keys stay keys
    assert torch.equal(now[qkv][80:96], fresh[qkv][80:96])
    for layer in ("in_layers.0.weight", "in_layers.0.bias", "in_layers.2.weight", "skip_connection.weight"):
        joined = f"output_blocks.0.0.{layer}"
        assert joined in started.new and torch.equal(now[joined], fresh[joined])


PATCHED = {
    "adm": (TWO_LEVELS, {"input_blocks.0.0.weight", "out.2.weight", "out.2.bias"}),
    "unet": ({"name": "unet", "channels": 8, "depth": 2}, {"first.weight", "out.weight", "out.bias"}),
}
"""Networks with patches, and their layers that differ with the patches."""


@pytest.mark.parametrize("patch", [1, 4])
@pytest.mark.parametrize("kind", PATCHED)
def test_another_patch_begins_with_the_output_for_the_resized_image(root, kind, patch):
    fine, coarse = max(patch, 2), min(patch, 2)
    factor = fine // coarse
    network, layers = PATCHED[kind]
    model = write_tiny(root / "base.safetensors", network=network | {"patch": 2})
    networks = {
        side: assemble(tiny_card(network=network | {"patch": side})).network.double().eval() for side in (2, patch)
    }
    networks[2].load_state_dict(tiny_weights(tiny_card(network=network | {"patch": 2})))
    started = start_from(networks[patch], model)
    assert set(started.adapted) == layers and not started.new
    assert started.same > 10
    assert all(how.startswith(f"patches of 2 -> {patch}, ") for how in started.adapted.values())
    random = torch.Generator().manual_seed(0)
    small = torch.randn(2, 6, 4 * coarse, 4 * coarse, generator=random, dtype=torch.float64)
    large, time = small.repeat_interleave(factor, 2).repeat_interleave(factor, 3), torch.tensor([100.0])
    found, reduced = networks[fine](large, time), networks[coarse](small, time)
    assert reduced.abs().max() > 0.01
    assert torch.allclose(torch.nn.functional.avg_pool2d(found, factor), reduced, atol=1e-9)
    if patch > 2 and kind == "adm":
        noisy = large + torch.randn(large.shape, generator=random, dtype=torch.float64)
        pooled = torch.nn.functional.avg_pool2d(noisy, factor)
        repeated = networks[coarse](pooled, time).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        assert torch.allclose(networks[fine](noisy, time), repeated, atol=1e-9)


def test_a_network_that_fills_paper_begins_as_one_that_does_not(root):
    plain = PATCHED["unet"][0]
    model = write_tiny(root / "base.safetensors", network=plain)
    before, now = (assemble(tiny_card(network=plain | more)).network for more in ({}, {"fills": True}))
    before.load_state_dict(tiny_weights(tiny_card(network=plain)))
    started = start_from(now, model)
    assert set(started.adapted) == PATCHED["unet"][1] and not started.new
    x, time = torch.rand(2, 6, 8, 8) * 2 - 1, torch.tensor([100.0])
    assert torch.allclose(now(x, time), before(x, time), atol=1e-5)
    with torch.no_grad():
        now.out.bias[-1] = 1
    assert torch.allclose(now(x, time), before(x, time) + filled(x[:, 3:]), atol=1e-5)


def test_patches_that_are_no_multiple_are_new(model):
    network = assemble(tiny_card(network=TWO_LEVELS | {"patch": 3})).network
    started = start_from(network, model)
    assert set(started.new) == {"input_blocks.0.0.weight", "out.2.weight", "out.2.bias"} and not started.adapted
    network = assemble(tiny_card(network=TWO_LEVELS | {"patch": 4, "places": True})).network
    assert set(start_from(network, model).new) == set(started.new)


def test_what_differs_is_a_notice(root, model):
    asked = begin(root, model)
    asked = dataclasses.replace(
        asked, network="adm:channels=16,multipliers=1-3,blocks=1,attention=2,head_channels=16,patch=2"
    )
    found = [event for event in run(asked) if isinstance(event, Noticed)]
    assert "layers were adapted" in found[0].message and any(
        "32x32x3x3 -> 48x48x3x3" in name for name in found[0].names
    )
    assert "are new" in found[1].message


def test_another_network_is_refused(root, model):
    with pytest.raises(UsageError, match="no weights of this model fit"):
        start_from(assemble(tiny_card(network=TWO_LEVELS | {"channels": 32})).network, model)
    with pytest.raises(ModelError, match="no such model file"):
        begin(root, root / "nothing.safetensors")


def test_a_stopped_run_resumes_without_the_model(root, model):
    """To the bits of one that was not stopped."""
    list(run(begin(root, model, "whole")))
    stopped = run(begin(root, model, "stopped"))
    list(islice(stopped, 4))
    stopped.close()
    model.unlink()
    list(run(request({"device": "cpu"}, resume=root / "stopped")))
    assert same(weights(root / "whole"), weights(root / "stopped"))
    assert json.loads((root / "whole" / "config.json").read_text())["start_from"] == str(model)


def test_pix2pix_of_another_width_is_refused(root):
    wide, narrow = ({"name": "pix2pix", "channels": width, "depth": 3} for width in (8, 4))
    card = tiny_card(network=wide)
    file = write_tiny(root / "wide.safetensors", network=card.network)
    with pytest.raises(UsageError, match="no weights of this model fit"):
        start_from(assemble(tiny_card(network=narrow)).network, file)
