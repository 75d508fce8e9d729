"""The parts of the ADM U-Net (arXiv:2105.05233, App. B and C).

The parameters are named as in the released checkpoints, which number the layers of a block in sequence; the numbers
of layers without parameters are kept by placeholders.

Pictures lie in memory with their channels last, where a 1x1 convolution is a matrix product as it stands, and where
every normalisation, product and sum walks through memory in order.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.networks.packed import Packed, is_available, is_possible

MOST_GROUPS = 32

LARGE_WEIGHT = 2**21
"""Weights of a convolution, and"""

SMALL_PICTURE = 16 * 16
"""positions of an image, from and up to which a CPU is faster with a product of patches; measured."""

SPLIT_PLACES = 32 * 32
"""Positions of an image from which PyTorch splits the sums of group normalisation among threads."""


def norm(channels: int) -> nn.GroupNorm:
    """Return group normalisation with 32 groups, or as many as divide the channels."""
    return GroupNorm(math.gcd(MOST_GROUPS, channels), channels)


def _is_plain(x: Tensor) -> bool:
    """Return whether an input is float32 on a CPU, no derivatives are needed, and torch.compile is not at work."""
    eager = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return eager and x.device.type == "cpu" and x.dtype == torch.float32


class GroupNorm(nn.GroupNorm):
    """Group normalisation whose result for an image depends neither on the batch nor on the number of threads.

    PyTorch splits the sums of large images among as many threads as are free, which changes their last bits. The
    function of `torch.nn` refuses groups of a single value, which a small image can have at the lowest level.
    Mixed precision on a CPU is normalised in float32: the derivatives in bfloat16 take three times as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.dtype != self.weight.dtype:
            with torch.autocast("cpu", enabled=False):
                return self.forward(x.to(self.weight.dtype)).to(x.dtype)
        batch, channels, height, width = x.shape
        if height * width < SPLIT_PLACES or not _is_plain(x):
            return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        places = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        count = height * width * channels // self.num_groups
        mean, square = (
            total.view(batch, self.num_groups, -1).sum(-1, keepdim=True) / count
            for total in (places.sum(1), (places * places).sum(1))
        )
        deviation = ((square - mean * mean).clamp(min=0) + self.eps).sqrt()
        scale = (self.weight.view(self.num_groups, -1) / deviation).view(batch, channels, 1, 1)
        shift = self.bias.view(self.num_groups, -1) - mean * scale.view(batch, self.num_groups, -1)
        return torch.addcmul(shift.view(batch, channels, 1, 1), x, scale)


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """Return normal numbers; on the meta device none are drawn, because arithmetic on it imports a compiler."""
    numbers = torch.empty(shape)
    return numbers if numbers.is_meta else numbers.normal_() * std


Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def zero(layer: Layer) -> Layer:
    """Set a layer's weights to 0, so that a new block changes nothing."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def silu(x: Tensor) -> Tensor:
    """Return x sigmoid(x); where no derivatives are needed, x itself is overwritten."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def time_features(time: Tensor, channels: int) -> Tensor:
    """Return cosines, then sines, of time at frequencies from 1 to 1/10000: (B,) -> (B, channels), float32."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=time.device) / half)
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def label_features(table: nn.Embedding, label: Tensor) -> Tensor:
    """Return the embeddings of labels (B,): (B, C), zeros for negative ones, which are none."""
    features: Tensor = table(label.clamp(min=0)) * (label >= 0).to(table.weight.dtype)[:, None]
    return features


PLACE_CHANNELS = 16
"""Channels of `place_features`."""


def place_features(like: Tensor) -> Tensor:
    """Return where each position is: sines and cosines of y and x in -1..1, for `like` (B, C, H, W): (B, 16, H, W)."""
    axes = []
    frequencies = 2 ** torch.arange(4, device=like.device)[:, None]  # made there: a copy would end a CUDA graph
    for length in like.shape[-2:]:
        middle = (torch.arange(length, dtype=torch.float32, device=like.device) + 0.5) * (2 / length) - 1
        angles = math.pi / 2 * middle * frequencies
        axes.append(torch.cat([angles.sin(), angles.cos()]))
    (rows, columns), (height, width) = axes, like.shape[-2:]
    places = torch.cat([rows[:, :, None].expand(-1, -1, width), columns[:, None, :].expand(-1, height, -1)])
    return places.to(like.dtype).expand(len(like), -1, -1, -1)


class Conv(nn.Conv2d):
    """A convolution that keeps the size: 3x3, or 1x1 as a product over channels.

    The arguments are in the order of `nn.Conv2d`, because peft builds the layers of an adapter by the class of the
    layer that it adapts.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        side: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: object = None,
        *,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        height, width = (side, side) if isinstance(side, int) else side
        super().__init__(
            channels, out_channels, (height, width), stride, (height // 2, width // 2), groups=groups, bias=bias
        )
        self.packed: Packed | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is not None and not self.weight.requires_grad and is_possible(x):
            return self.packed(x, self.weight, self.bias)
        if self.kernel_size == (1, 1):
            return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        # A CPU's convolution brings the weights into its own order at each call; where they are larger than the image,
        # that costs more than laying out the patches does. Not while training, which would have to keep the patches.
        small = x.shape[2] * x.shape[3] <= SMALL_PICTURE and self.weight.numel() >= LARGE_WEIGHT
        if small and x.device.type == "cpu" and not torch.is_grad_enabled():
            return self._product(x)
        if _is_plain(x) and torch.backends.mkldnn.is_available():
            # For single small images PyTorch takes another, slower algorithm (1.3 times the time of a whole network).
            padding = [side // 2 for side in self.kernel_size]
            return torch.mkldnn_convolution(x, self.weight, self.bias, padding, (1, 1), (1, 1), 1)
        return super().forward(x)

    def _product(self, x: Tensor) -> Tensor:
        """Return the convolution as one product of all 3x3 patches with the weights."""
        places = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        patches = places.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3).flatten(3)
        return F.linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)


def pack(network: nn.Module) -> None:
    """Let the convolutions of a network keep their weights in the layouts that a CPU computes fastest with.

    Takes effect from the first call without derivatives on; the weights must not require them. The packed weights take
    up to twice the memory of the weights. Without effect on other devices, and where PyTorch cannot pack weights.
    """
    if is_available():
        for each in network.modules():
            if isinstance(each, Conv) and each.stride == (1, 1) and each.groups == 1:
                each.packed = Packed()


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
        self.in_layers = nn.Sequential(norm(channels), nn.SiLU(), Conv(channels, out_channels))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out_channels))
        self.out_layers = nn.Sequential(
            norm(out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero(Conv(out_channels, out_channels)),
        )
        self.skip_connection = nn.Identity() if channels == out_channels else Conv(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = silu(self.in_layers[0](x))
        if self.resize:
            h = _resize(h, self.resize)
        h = self.in_layers[2](h)
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[0](h)
        h = torch.addcmul(shift, h, 1 + scale)
        h = self.out_layers[3](self.out_layers[2](silu(h)))
        if self.resize:  # not before: until here an image to be enlarged takes a quarter of the memory
            x = _resize(x, self.resize)
        h += self.skip_connection(x)  # in place: no derivative needs the summands
        return h


class Attention(nn.Module):
    """Self-attention over all positions; queries, keys and values are the three thirds of `qkv`'s channels."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = _heads(channels, head_channels)
        self.norm = norm(channels)
        self.qkv = Conv(channels, 3 * channels, 1)
        self.proj_out = zero(Conv(channels, channels, 1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)  # a view of the product's result
        qkv = qkv.reshape(batch, height * width, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        h = attention(q, k, v)
        h = h.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        out = self.proj_out(h)
        out += x
        return out


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v; all are (B, heads, positions, D)."""
    if q.dtype != torch.bfloat16 or not is_possible(q):
        return F.scaled_dot_product_attention(q, k, v)
    # PyTorch's fused attention takes as long in bfloat16 as in float32 on a CPU; products of matrices half as long.
    out = torch.empty_like(v.transpose(1, 2)).transpose(1, 2)
    for image in range(len(q)):
        weights = (q[image] * q.shape[-1] ** -0.5) @ k[image].transpose(-2, -1)
        out[image] = weights.softmax(-1) @ v[image]
    return out


class CrossAttention(nn.Module):
    """Attention of all positions to the features of a text."""

    def __init__(self, channels: int, head_channels: int, width: int) -> None:
        super().__init__()
        self.heads = _heads(channels, head_channels)
        self.norm = norm(channels)
        self.q = Conv(channels, channels, 1)
        self.kv = nn.Linear(width, 2 * channels)
        self.proj_out = zero(Conv(channels, channels, 1))

    def forward(self, x: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        """Return x (B, C, H, W) with what it takes from a text: features (B, L, width), and which are used (B, L)."""
        features, known = text
        batch, channels, height, width = x.shape
        q = self.q(self.norm(x)).flatten(2).transpose(1, 2).reshape(batch, height * width, self.heads, -1)
        k, v = self.kv(features).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=known[:, None, None])
        h = h.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        added: Tensor = x + self.proj_out(h)
        return added


def _heads(channels: int, head_channels: int) -> int:
    """Return the number of attention heads.

    Raises:
        UsageError: it does not divide the channels.
    """
    heads = max(1, channels // head_channels)
    if channels % heads:
        raise UsageError(
            f"{channels} channels cannot be shared by {heads} heads",
            hint=f"choose head_channels that divide {channels}",
        )
    return heads


class Stage(nn.Sequential):
    """Layers in a row, each of which may take the embedding or the text.

    They are numbered; the attention to the text is named `text` and has no number, so that the other names are those
    of a network without text.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for layer in layers:
            self.append(layer)

    def append(self, layer: nn.Module) -> "Stage":
        """Add a layer after the others."""
        number = sum(not isinstance(each, CrossAttention) for each in self)
        self.add_module("text" if isinstance(layer, CrossAttention) else str(number), layer)
        return self

    def forward(  # type: ignore[override]
        self, x: Tensor, embedding: Tensor, text: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        for layer in self:
            if isinstance(layer, CrossAttention):
                x = layer(x, text)
            else:
                x = layer(x, embedding) if isinstance(layer, ResBlock | Attention) else layer(x)
        return x


def _resize(x: Tensor, way: str) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest") if way == "up" else F.avg_pool2d(x, 2)
