"""Packed weights and Winograd's algorithm: PyTorch's numbers, and the same bits in any batch."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from ddbm_cli.networks import ADMConfig, pack, packed
from ddbm_cli.networks.blocks import Conv, attention
from ddbm_cli.networks.winograd import FOUR, TWO

pytestmark = pytest.mark.skipif(not packed.is_available(), reason="this PyTorch cannot pack weights")


def layer(channels=128, out_channels=160, side=3):
    made = Conv(channels, out_channels, side)
    torch.nn.init.normal_(made.weight, std=made.weight[0].numel() ** -0.5)
    torch.nn.init.normal_(made.bias)
    return made.requires_grad_(False)


def images(*shape, seed=0):
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return made.contiguous(memory_format=torch.channels_last)


def relative(found, wanted):
    return float((found.double() - wanted).square().mean().sqrt() / wanted.double().square().mean().sqrt())


def exact(conv, x):
    return F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=conv.kernel_size[0] // 2)


@pytest.mark.parametrize("tiles", [FOUR, TWO], ids=["four", "two"])
@pytest.mark.parametrize("shape", [(3, 5, 4, 8), (1, 3, 16, 4), (5, 2, 40, 72)])
def test_winograd_agrees_with_the_direct_sum(tiles, shape, monkeypatch):
    conv, x = layer(shape[1], 7), images(*shape)
    for bias in (conv.bias, None):
        wanted = F.conv2d(x.double(), conv.weight.double(), None if bias is None else bias.double(), padding=1)
        found = tiles.convolution(x, tiles.filters(conv.weight), bias)
        assert found.is_contiguous(memory_format=torch.channels_last) and relative(found, wanted) < 4e-6


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (4, 6), (18, 16), (17, 33)])
def test_packed_layers_agree(side, height, width):
    conv, x = layer(side=side), images(2, 128, height, width)
    pack(conv)
    assert relative(conv(x), exact(conv, x)) > 0  # derivatives are on: PyTorch's own
    with torch.inference_mode():
        assert relative(conv(x), exact(conv, x)) < 4e-6


def test_the_algorithm_depends_on_the_image_and_the_type_alone():
    weight = torch.empty(128, 128, 3, 3)

    def chosen(*shape, weight=weight, dtype=torch.float32):
        return packed.tiles_for(torch.empty(shape, dtype=dtype), weight)

    assert chosen(1, 128, 16, 16) is chosen(9, 128, 16, 16) is FOUR
    assert chosen(1, 128, 16, 16, dtype=torch.bfloat16) is TWO
    assert chosen(1, 128, 18, 16) is None and chosen(1, 128, 18, 16, dtype=torch.bfloat16) is TWO
    assert chosen(1, 128, 8, 16) is None
    assert chosen(1, 64, 64, 64, weight=weight[:, :64]) is None
    assert chosen(1, 128, 64, 64, weight=weight[..., :1, :1]) is None


@torch.no_grad()
@pytest.mark.parametrize("side", [8, 16])
def test_weights_that_change_are_packed_again(side):
    conv, other, x = layer(), layer(), images(1, 128, side, side)
    pack(conv)
    conv(x)
    conv.weight.mul_(2)
    assert relative(conv(x), exact(conv, x)) < 4e-6
    conv.load_state_dict(other.state_dict(), assign=True)
    assert relative(conv(x), exact(other, x)) < 4e-6


@torch.no_grad()
def test_copies_pack_their_own_weights():
    conv, x = layer(), images(1, 128, 16, 16)
    pack(conv)
    wanted = conv(x)
    for made in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert torch.equal(made(x), wanted)
        made.weight.zero_()
        assert not torch.equal(made(x), wanted) and torch.equal(conv(x), wanted)


def test_weights_that_are_trained_are_never_packed(monkeypatch):
    conv, x = layer().requires_grad_(True), images(1, 128, 16, 16)
    pack(conv)
    monkeypatch.setattr(packed.Packed, "__call__", lambda *_: pytest.fail("packed"))
    conv(x).sum().backward()
    with torch.no_grad():
        conv(x)
    conv.requires_grad_(False)(x)


def network(**changes):
    config = ADMConfig(channels=128, multipliers=(1, 1), blocks=1, attention=(2,), head_channels=32, **changes)
    made = config.create().eval().requires_grad_(False)
    random = torch.Generator().manual_seed(1)
    for name, parameter in made.named_parameters():
        if parameter.ndim > 1 or name.endswith("bias"):
            parameter.normal_(std=0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5, generator=random)
    return made


@torch.inference_mode()
def test_a_packed_network_agrees_and_an_image_has_the_same_bits_in_any_batch():
    made, x, time, threads = network(), images(4, 6, 32, 32), torch.tensor([0.3]), torch.get_num_threads()
    wanted = made(x, time)
    pack(made)
    results = []
    try:
        for number, sizes in ((1, (1, 3, 4)), (2, (1, 4)), (4, (4,))):
            torch.set_num_threads(number)
            results += [torch.cat([made(part, time) for part in x.split(size)]) for size in sizes]
    finally:
        torch.set_num_threads(threads)
    assert 0 < relative(results[0], wanted) < 2e-5
    assert all(torch.equal(result, results[0]) for result in results)


@torch.inference_mode()
@pytest.mark.skipif(not packed.has_bfloat16(), reason="no bfloat16")
def test_bfloat16_is_about_as_exact_as_without_packed_weights():
    x, time = images(2, 6, 32, 32), torch.tensor([0.3])
    wanted, made = network()(x, time), network().bfloat16()
    plain = relative(made(x, time).float(), wanted)
    pack(made)
    assert relative(made(x, time).float(), wanted) < 2 * plain < 0.1


@torch.inference_mode()
def test_attention_in_bfloat16():
    q, k, v = torch.randn(3, 2, 4, 40, 16, generator=torch.Generator().manual_seed(0)).unbind(0)
    wanted = F.scaled_dot_product_attention(q, k, v)
    assert torch.equal(attention(q, k, v), wanted)
    found = attention(*(each.bfloat16() for each in (q, k, v)))
    assert found.dtype == torch.bfloat16 and relative(found, wanted) < 0.02


@torch.inference_mode()
def test_without_the_operators_nothing_is_packed(monkeypatch):
    monkeypatch.delattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
    assert not packed.is_available()
    made, x = network(), images(1, 6, 16, 16)
    wanted = made(x, torch.zeros(1))
    pack(made)
    assert torch.equal(made(x, torch.zeros(1)), wanted)
