"""Channels last: group normalisation keeps it, or networks use channels first."""

import pytest
import torch

from ddbm_cli.models import load_model
from ddbm_cli.models.resolve import loading
from ddbm_cli.networks import memory_format
from ddbm_cli.networks.blocks import SPLIT_PLACES, norm
from ddbm_cli.networks.memory_format import best_memory_format, keeps_channels_last, set_memory_format
from ddbm_cli.registry.locate import finish as finished
from ddbm_cli.samplers import NoiseSource, finish
from ddbm_cli.tasks import doctor
from tests.tiny import write_tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [8, int(SPLIT_PLACES**0.5)])
def test_group_normalisation_keeps_channels_last(side, dtype):
    """Both PyTorch's and our own for large images."""
    layer = norm(64).to(dtype).requires_grad_(False)
    x = torch.randn(2, 64, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert layer(x).is_contiguous(memory_format=torch.channels_last)
    assert keeps_channels_last(CPU, dtype) and best_memory_format(CPU, dtype) == torch.channels_last


def returns_channels_first(x, groups):
    """As of PyTorch on a GPU before it had a kernel for channels last."""
    return x.contiguous()


def weights(model):
    return [each for each in model.denoiser.network.parameters() if each.ndim == 4 and min(each.shape[1:]) > 1]


def test_where_it_is_not_kept_networks_use_channels_first(tmp_path, monkeypatch):
    file = write_tiny(tmp_path / "m.safetensors")
    last = load_model(file, device="cpu")
    monkeypatch.setattr(memory_format.F, "group_norm", returns_channels_first)
    first = load_model(file, device="cpu")
    compiled = finished(loading(file, device="cpu", compile=True))
    monkeypatch.undo()
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in weights(last))
    assert all(each.is_contiguous() for each in weights(first))
    assert compiled.denoiser.network.network.memory_format == torch.channels_last  # its norm is another kernel
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in weights(compiled))
    seen = []
    first.denoiser.network.input_blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    made = [finish(each.translate(source, NoiseSource(0, list("ab")), each.plan())) for each in (last, first)]
    assert torch.allclose(*made, atol=1e-4) and seen[0].is_contiguous()


def test_networks_without_a_format_are_left_as_they_are():
    layer = torch.nn.Conv2d(4, 4, 3)
    set_memory_format(layer, torch.channels_last)
    assert layer.weight.is_contiguous() and not hasattr(layer, "memory_format")


def test_doctor_says_which(monkeypatch):
    assert doctor._layout(CPU).ok
    monkeypatch.setattr(memory_format.F, "group_norm", returns_channels_first)
    found = doctor._layout(CPU)
    assert not found.ok and "channels first" in found.found and found.hint and found.severity == "warning"
