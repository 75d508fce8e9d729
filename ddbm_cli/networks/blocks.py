"""The parts of the ADM U-Net (arXiv:2105.05233, App. B and C).

The parameters are named as in the released checkpoints, which number the layers of a block in sequence; the numbers
of layers without parameters are kept by placeholders.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_GROUPS = 32


def norm(channels: int) -> nn.GroupNorm:
    """Return group normalisation with 32 groups, or as many as divide the channels."""
    return nn.GroupNorm(math.gcd(MOST_GROUPS, channels), channels)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer's weights to 0, so that a new block changes nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def time_features(time: Tensor, channels: int) -> Tensor:
    """Return cosines, then sines, of time at frequencies from 1 to 1/10000: (B,) -> (B, channels), float32."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=time.device) / half)
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the embedding scales and shifts the second normalisation.

    Args:
        channels, out_channels: before and after.
        embedding: length of the embedding vector.
        resize: "up" or "down" by 2 on the way, None to keep the size.
    """

    def __init__(
        self, channels: int, out_channels: int, embedding: int, dropout: float, resize: str | None = None
    ) -> None:
        super().__init__()
        self.resize = resize
        self.in_layers = nn.Sequential(norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.out_layers = nn.Sequential(
            norm(out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.in_layers[1](self.in_layers[0](x))
        if self.resize:
            h, x = _resize(h, self.resize), _resize(x, self.resize)
        h = self.in_layers[2](h)
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.out_layers[0](h), 1 + scale)
        h = self.out_layers[3](self.out_layers[2](self.out_layers[1](h)))
        return self.skip_connection(x) + h


class Attention(nn.Module):
    """Self-attention over all places; queries, keys and values are the three thirds of `qkv`'s channels."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)  # channels last: a view of what the convolution wrote
        qkv = qkv.reshape(batch, height * width, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v)
        h = h.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return x + self.proj_out(h)


class Stage(nn.Sequential):
    """Layers in a row, each of which may want the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, embedding)
        return x


def _resize(x: Tensor, way: str) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest") if way == "up" else F.avg_pool2d(x, 2)
