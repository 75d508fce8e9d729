"""Shared self-attention: the second image of a pair gets the weights of the first, and keeps its own values."""

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from ddbm_cli.networks.shared_attention import shared_self_attention
from tests.pipelines import UNET


def test_the_second_image_has_the_weights_of_the_first():
    torch.manual_seed(0)
    layer, x = Attention(8, heads=2, dim_head=4).eval(), torch.randn(4, 5, 8)
    with torch.no_grad(), shared_self_attention(torch.nn.ModuleList([layer])) as sharing:
        plain = layer(x)
        sharing.on = True
        shared = layer(x)
        q, k, v = (to(x).unflatten(2, (2, 4)).transpose(1, 2) for to in (layer.to_q, layer.to_k, layer.to_v))
    first = [0, 0, 2, 2]
    assert torch.equal(q[1], q[0]) and not torch.equal(v[1], v[0])
    weights = (q @ k.transpose(2, 3) / 4**0.5).softmax(dim=-1)
    wanted = layer.to_out[0]((weights[first] @ v).transpose(1, 2).flatten(2))
    assert torch.allclose(shared, wanted, atol=1e-6) and torch.allclose(shared[0::2], plain[0::2], atol=1e-6)
    assert not torch.allclose(shared[1::2], plain[1::2], atol=1e-3)
    with torch.no_grad():
        assert torch.equal(layer(x), plain), "after the block nothing is shared"


def test_in_a_network_the_text_and_the_first_images_keep_their_attention():
    torch.manual_seed(0)
    network = UNet2DConditionModel(**UNET).eval()
    x, texts = torch.randn(1, 4, 8, 8).repeat(4, 1, 1, 1), torch.randn(4, 6, 16)
    with torch.no_grad(), shared_self_attention(network) as sharing:
        plain, same = (network(x, 500, each).sample for each in (texts, texts[[0, 0, 2, 2]]))
        sharing.on = True
        shared, shared_same = (network(x, 500, each).sample for each in (texts, texts[[0, 0, 2, 2]]))
    assert torch.equal(shared[0::2], plain[0::2]) and not torch.equal(shared[1::2], plain[1::2])
    assert not torch.equal(shared[1], shared[0]), "cross-attention is that of its own text"
    assert torch.equal(same[0], same[1]) and torch.equal(shared_same, same)
