"""The arithmetic of the released DDBM code, as a benchmark's opponent, on the weights of a network of ours.

It computes what `ddbm/unet.py` of the DDBM release does on a CPU: images with their channels first, convolutions as
PyTorch calls them, group normalisation in float32, attention by two products and a softmax, with the scale on queries
and keys. It is written for this comparison and contains none of that code.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddbm_cli.networks import ADM
from ddbm_cli.networks.blocks import Attention, ResBlock


class Released(nn.Module):
    """F(x, time) of a network of ours, computed as the released code does."""

    def __init__(self, network: ADM) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return F (B, out_channels, H, W); time is (B,)."""
        network = self.network
        half = network.config.channels // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = time[:, None].float() * frequencies[None]
        embedding = network.time_embed[0](torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))
        embedding = network.time_embed[2](F.silu(embedding))
        kept = []
        for stage in network.input_blocks:
            x = _stage(stage, x, embedding)
            kept.append(x)
        x = _stage(network.middle_block, x, embedding)
        for stage in network.output_blocks:
            x = _stage(stage, torch.cat([x, kept.pop()], dim=1), embedding)
        return _conv(network.out[2], F.silu(_norm(network.out[0], x)))


def _stage(stage: nn.Sequential, x: Tensor, embedding: Tensor) -> Tensor:
    for layer in stage:
        if isinstance(layer, ResBlock):
            x = _block(layer, x, embedding)
        else:
            x = _attention(layer, x) if isinstance(layer, Attention) else _conv(layer, x)
    return x


def _conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def _norm(layer: nn.GroupNorm, x: Tensor) -> Tensor:
    return F.group_norm(x.float(), layer.num_groups, layer.weight, layer.bias, layer.eps).type(x.dtype)


def _resized(x: Tensor, way: str | None) -> Tensor:
    if way is None:
        return x
    return F.interpolate(x, scale_factor=2, mode="nearest") if way == "up" else F.avg_pool2d(x, 2, 2)


def _block(block: ResBlock, x: Tensor, embedding: Tensor) -> Tensor:
    h = _resized(F.silu(_norm(block.in_layers[0], x)), block.resize)
    h = _conv(block.in_layers[2], h)
    scale, shift = block.emb_layers(embedding).type(h.dtype)[..., None, None].chunk(2, dim=1)
    h = _norm(block.out_layers[0], h) * (1 + scale) + shift
    h = _conv(block.out_layers[3], F.silu(h))
    x = _resized(x, block.resize)
    if not isinstance(block.skip_connection, nn.Identity):
        x = _conv(block.skip_connection, x)
    return x + h


def _attention(layer: Attention, x: Tensor) -> Tensor:
    batch, channels, *shape = x.shape
    qkv = _conv(layer.qkv, _norm(layer.norm, x)).view(batch, 3, layer.heads, channels // layer.heads, -1)
    q, k, v = (part.flatten(0, 1) for part in qkv.unbind(1))
    scale = (channels // layer.heads) ** -0.25
    weight = torch.einsum("bct,bcs->bts", q * scale, k * scale).float().softmax(dim=-1).type(q.dtype)
    h = torch.einsum("bts,bcs->bct", weight, v).reshape(batch, channels, *shape)
    return x + _conv(layer.proj_out, h)
