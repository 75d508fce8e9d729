"""Runs that begin with the weights of another model."""

import json
from itertools import islice

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import assemble, load_model
from ddbm_cli.models.start_from import start_from
from ddbm_cli.tasks.train import request, run
from tests.tiny import NETWORK, tiny_card, tiny_weights, write_pairs, write_tiny
from tests.training.test_training import same, weights


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


@pytest.fixture
def model(root):
    return write_tiny(root / "base.safetensors", path={"name": "vp-bridge", "beta_d": 1.5})


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
    prior = tiny_card(network=NETWORK | {"in_channels": 3}, kind="prior", concat_source=False)
    file = write_tiny(root / "prior.safetensors", network=prior.network, kind="prior", concat_source=False)
    bridge, before = (assemble(card).network.eval() for card in (tiny_card(), prior))
    before.load_state_dict(tiny_weights(prior))
    assert start_from(bridge, file) == ["the weights of the source's channels are new"]
    x, source, time = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16), torch.tensor([100.0])
    assert torch.allclose(bridge(torch.cat([x, source], 1), time), before(x, time), atol=1e-4)


def test_classes_are_learnt_from_scratch(model):
    network = assemble(tiny_card(network=NETWORK | {"classes": 4})).network
    fresh = network.label_emb.weight.clone()
    assert start_from(network, model) == ["the weights of classes are new"]
    assert torch.equal(network.label_emb.weight, fresh)


def test_another_network_is_refused(root, model):
    with pytest.raises(UsageError, match="a different network"):
        start_from(assemble(tiny_card(network=NETWORK | {"channels": 32})).network, model)
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
