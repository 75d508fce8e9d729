"""Compiled networks: one shape for all batches, the same results."""

import time

import pytest
import torch

from ddbm_cli.denoisers.compiled import Compiled
from ddbm_cli.models import assemble, load_model
from ddbm_cli.models.resolve import loading
from ddbm_cli.registry.locate import finish as finished
from ddbm_cli.samplers import NoiseSource, finish
from tests.tiny import NETWORK, tiny_card, tiny_weights, write_tiny


class Watched(torch.nn.Module):
    """Notes the shapes that it is called with."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, x, time, *label):
        self.seen.append((len(x), len(time), *map(len, label)))
        return self.network(x, time, *label)


def watched(**changes):
    card = tiny_card(network=NETWORK | changes)
    network = assemble(card).network.eval().requires_grad_(False)
    network.load_state_dict(tiny_weights(card))
    inner = Watched(network)
    return inner, Compiled(inner, compile=lambda network, dynamic: network)


def test_smaller_batches_are_padded_and_results_cut():
    inner, compiled = watched()
    x = torch.randn(5, 6, 16, 16)
    whole = inner.network(x, torch.ones(1))
    first, last = compiled(x, torch.ones(1)), compiled(x[:2], torch.ones(1))
    assert inner.seen == [(5, 1), (5, 1)] and last.shape == (2, 3, 16, 16)
    assert torch.allclose(first, whole, atol=1e-5) and torch.allclose(last, whole[:2], atol=1e-5)


def test_times_and_labels_of_each_image_are_padded_and_those_of_all_are_not():
    inner, compiled = watched(classes=3)
    x, times, labels = torch.randn(4, 6, 16, 16), torch.rand(4), torch.tensor([0, 1, 2, -1])
    whole = inner.network(x, times, labels)
    compiled(x, times, labels)
    assert torch.allclose(compiled(x[:3], times[:3], labels[:3]), whole[:3], atol=1e-5)
    assert torch.allclose(compiled(x[:1], times[:1], labels[:1]), whole[:1], atol=1e-5)
    assert inner.seen == [(4, 4, 4), (4, 4, 4), (4, 1, 1)]


def test_a_model_is_loaded_with_its_network_compiled(tmp_path):
    """Nothing is compiled before the first evaluation."""
    file = write_tiny(tmp_path / "m.safetensors")
    model = finished(loading(file, device="cpu", compile=True))
    assert isinstance(model.denoiser.network, Compiled) and not model.is_batch_invariant
    assert not isinstance(load_model(file, device="cpu").denoiser.network, Compiled)


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_images_and_compiles_once(tmp_path):
    file = write_tiny(tmp_path / "m.safetensors")
    plain, compiled = load_model(file, device="cpu"), finished(loading(file, device="cpu", compile=True))
    source = torch.rand(4, 3, 16, 16) * 2 - 1
    wanted = finish(plain.translate(source, NoiseSource(0, list("abcd")), plain.plan()))
    found = finish(compiled.translate(source, NoiseSource(0, list("abcd")), compiled.plan()))
    assert (found - wanted).abs().max() < 1e-4
    began = time.process_time()
    last = finish(compiled.translate(source[:3], NoiseSource(0, list("abc")), compiled.plan()))
    assert (last - wanted[:3]).abs().max() < 1e-4 and time.process_time() - began < 2
