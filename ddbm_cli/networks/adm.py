"""The ADM U-Net (Dhariwal & Nichol, arXiv:2105.05233), as DDBM uses it (arXiv:2309.16948).

Names and shapes of its parameters are those of the released DDBM checkpoints. `patch` folds squares of pixels into
channels before the first layer and unfolds them after the last, which makes large images cheaper.
"""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.blocks import (
    PLACE_CHANNELS,
    Attention,
    Conv,
    CrossAttention,
    ResBlock,
    Stage,
    label_features,
    norm,
    normal,
    place_features,
    silu,
    time_features,
    zero,
)
from ddbm_cli.networks.text import NO_TOKEN, GivenText, TextEncoder, pooled

# Larger than every known network. A file with larger numbers is damaged or hostile.
Width = Annotated[int, Field(ge=1, le=2**14)]
Factor = Annotated[int, Field(ge=1, le=64)]


@settings
class ADMConfig:
    """ADM U-Net. The defaults are the released edges2handbags model.

    in_channels: of x_t and x_T together. channels: of the first level; `multipliers` times that at each level.
    blocks: residual blocks of a level. attention: downsampling factors, after `patch`, that get attention.
    head_channels: channels of an attention head. patch: side of the squares folded into channels.
    places: give the first layer the place of each position, which convolutions and attention alone hardly know, and
        which edits such as mirroring need.
    mirrors: give the first layer the input also mirrored left to right and upside down, so that an edit that mirrors
        the image need not move content across it by attention.
    copies: add to the output, for each pixel, a weighted sum of the images of the input (mirrored ones too with
        `mirrors`) in changed colours; the network computes the weights and a matrix of colours. What an edit keeps,
        mirrors or recolours then need not pass through the channels of the network, nor the details of a state of
        little noise, if the network outputs the target (see `Preconditioned`). Similar to the attention mask of
        GANimation (arXiv:1807.09251), and to the local affine colours of HDRNet (arXiv:1707.02880).
    classes: number of labels; None for a network without classes.
    vocabulary: number of tokens of texts; None for a network without texts. Each attention layer is then followed by
        one to the features of the text; see `networks.text`.
    text_length: number of tokens of a text, at most. text_width, text_layers: of the text encoder.
    text_features: width of the features of texts that another encoder gives, in place of tokens; None for none.
    """

    name: ClassVar[str] = "adm"
    at_once: ClassVar[bool] = False
    """Whether the network uses the source alone, so that one evaluation gives the result."""

    in_channels: Width = 6
    out_channels: Width = 3
    channels: Annotated[int, Field(ge=2, le=2**14, multiple_of=2)] = 192
    multipliers: Annotated[tuple[Factor, ...], Field(min_length=1, max_length=12)] = (1, 2, 3, 4)
    blocks: Factor = 3
    attention: tuple[int, ...] = (2, 4, 8)
    head_channels: Width = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    patch: Factor = 1
    places: bool = False
    mirrors: bool = False
    copies: bool = False
    classes: Annotated[int, Field(ge=1, le=2**20)] | None = None
    vocabulary: Annotated[int, Field(ge=1, le=2**16)] | None = None
    text_length: Annotated[int, Field(ge=1, le=512)] = 32
    text_width: Annotated[int, Field(ge=32, le=2048, multiple_of=32)] = 128
    text_layers: Annotated[int, Field(ge=1, le=32)] = 2
    text_features: Width | None = None

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels that the last layer computes for each pixel: of the output, weights of images, the matrix."""
        images = self.in_channels // self.out_channels * (3 if self.mirrors else 1)
        return (self.out_channels, *((images, self.out_channels**2) if self.copies else ()))

    @property
    def takes_text(self) -> bool:
        """Whether there is attention to a text."""
        return self.vocabulary is not None or self.text_features is not None

    @property
    def context_width(self) -> int:
        """Channels of what the attention to a text gets."""
        return self.text_features or self.text_width

    def largest_activation(self, width: int, height: int) -> int:
        """Return how many numbers the largest activation of an image has."""
        across, down = width // self.patch, height // self.patch
        channels = (self.channels * multiplier for multiplier in self.multipliers)
        return max(each * (across >> level) * (down >> level) for level, each in enumerate(channels))

    def most_positions(self, width: int, height: int) -> int:
        """Return how many positions attend to each other, at most."""
        across, down, last = width // self.patch, height // self.patch, len(self.multipliers) - 1
        levels = (level for level in range(last + 1) if level == last or 2**level in self.attention)
        return max((across >> level) * (down >> level) for level in levels)

    def create(self) -> "ADM":
        """Return the network with fresh weights."""
        return ADM(self)


class ADM(nn.Module):
    """F(x, time), or F(x, time, label): U-Net with residual blocks and attention.

    Height and width of the input must be multiples of `size_multiple`.
    batch_invariant: on a CPU in float32, with 1, 2, 4, 8 ... threads, an image has the same bits in any batch.
    """

    first_layer: ClassVar[str] = "input_blocks.0.0.weight"
    patch_layers: ClassVar[dict[str, int]] = {"input_blocks.0.0.weight": 1, "out.2.weight": 0, "out.2.bias": 0}
    layers_in_parts: ClassVar[dict[str, int]] = {"*.qkv.*": 3, "*.emb_layers.1.*": 2}
    """Patterns of layers with several parts in a row (queries, keys, values; scale, shift) as outputs, and how many."""
    joined_inputs: ClassVar[dict[str, int]] = {
        "output_blocks.*.in_layers.0.*": 0,
        "output_blocks.*.in_layers.2.weight": 1,
        "output_blocks.*.skip_connection.weight": 1,
    }
    """Patterns of layers whose inputs are two lists of channels in a row, and the dimension with the inputs."""
    adapts_every_layer: ClassVar[bool] = True
    """Whether channels are copied from a model of another width in all layers, or in those above alone."""

    def __init__(self, config: ADMConfig) -> None:
        super().__init__()
        self.config = config
        width, embedding = config.channels, 4 * config.channels
        self.time_embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if config.classes is not None:
            self.label_emb = nn.Embedding(config.classes, embedding, _weight=normal(config.classes, embedding))
        if config.vocabulary is not None:
            sizes = config.text_length, config.text_width, config.text_layers
            self.text_encoder: nn.Module = TextEncoder(config.vocabulary, *sizes)
        elif config.text_features is not None:
            self.text_encoder = GivenText(config.text_features)
        if config.takes_text:
            self.text_emb = nn.Linear(config.context_width, embedding)

        def attention(channels: int) -> list[nn.Module]:
            own: list[nn.Module] = [Attention(channels, config.head_channels)]
            if config.takes_text:
                own.append(CrossAttention(channels, config.head_channels, config.context_width))
            return own

        def block(channels: int, out_channels: int, resize: str | None = None) -> ResBlock:
            return ResBlock(channels, out_channels, embedding, config.dropout, resize)

        def stage(channels: int, out_channels: int, factor: int) -> Stage:
            more = attention(out_channels) if factor in config.attention else []
            return Stage(block(channels, out_channels), *more)

        folded = config.patch**2
        channels = width * config.multipliers[0]
        seen = config.in_channels * (3 if config.mirrors else 1)
        inputs = seen * folded + (PLACE_CHANNELS if config.places else 0)
        self.input_blocks = nn.ModuleList([Stage(Conv(inputs, channels))])
        skips = [channels]
        for level, multiplier in enumerate(config.multipliers):
            for _ in range(config.blocks):
                self.input_blocks.append(stage(channels, width * multiplier, 2**level))
                channels = width * multiplier
                skips.append(channels)
            if level < len(config.multipliers) - 1:
                self.input_blocks.append(Stage(block(channels, channels, "down")))
                skips.append(channels)

        self.middle_block = Stage(block(channels, channels), *attention(channels), block(channels, channels))

        self.output_blocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            for index in range(config.blocks + 1):
                up = stage(channels + skips.pop(), width * multiplier, 2**level)
                channels = width * multiplier
                if level and index == config.blocks:
                    up.append(block(channels, channels, "up"))
                self.output_blocks.append(up)

        last = zero(Conv(channels, sum(config.outputs) * folded))
        self.out = nn.Sequential(norm(channels), nn.SiLU(), last)
        self.memory_format = torch.channels_last
        self.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    @property
    def batch_invariant(self) -> bool:
        """Whether results do not depend on the batch: the attention to a text is not computed so."""
        return not self.config.takes_text

    @property
    def size_multiple(self) -> int:
        """What height and width must be multiples of."""
        return self.config.patch * int(2 ** (len(self.config.multipliers) - 1))

    @property
    def recomputable(self) -> list[nn.Module]:
        """The blocks whose activations can be computed a second time in the backward pass instead of kept."""
        return [*self.input_blocks, self.middle_block, *self.output_blocks]

    @staticmethod
    def kind_of_layer(name: str, module: nn.Module) -> str:
        """Return what an adapter calls a layer: "attention", "convolutions", "embedding", or "" for none of these."""
        if isinstance(module, nn.Conv2d):
            return "attention" if name.endswith(("qkv", "proj_out")) else "convolutions"
        return "embedding" if isinstance(module, nn.Linear) else ""

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """Return F (B, out_channels, H, W), computed in the dtype of the weights.

        Args:
            x: (B, in_channels, H, W).
            time: (B,), or (1,) for the whole batch: the input of the time embedding.
            label: (B,) integers, or (1,) for all, for networks with classes; negative, or None, for no label. For
                networks with a vocabulary, tokens (B, L), or (1, L); for those with `text_features`, features
                (B, L, text_features), or (1, L, text_features).
        """
        takes_text = self.config.takes_text
        assert label is None or takes_text or self.config.classes is not None, "a label is for networks with classes"
        dtype = next(self.parameters()).dtype
        embedding = self.time_embed(time_features(time, self.config.channels).to(dtype))
        text = None
        if takes_text:
            none = (1, 1) if self.config.text_features is None else (1, 1, self.config.text_features)
            given = torch.full(none, NO_TOKEN, device=x.device) if label is None else label
            features, known = self.text_encoder(given)
            embedding = embedding + self.text_emb(pooled(features, known))
            text = features.expand(len(x), -1, -1), known.expand(len(x), -1)
        elif label is not None:
            embedding = embedding + label_features(self.label_emb, label)
        sides = self._sides(x.to(dtype))
        x = self._first_features(sides).contiguous(memory_format=self.memory_format)
        skips = []
        for down in self.input_blocks:
            x = down(x, embedding, text)
            skips.append(x)
        x = self.middle_block(x, embedding, text)
        for up in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)  # a statement of its own: frees its inputs
            x = up(x, embedding, text)
        x = self.out[2](silu(self.out[0](x)))
        own, *copying = F.pixel_shuffle(x, self.config.patch).split(self.config.outputs, dim=1)
        return own + self._copied(sides, *copying) if copying else own

    def _copied(self, sides: list[Tensor], weights: Tensor, matrix: Tensor) -> Tensor:
        """Return the weighted sum of the images of all sides, (B, out_channels, H, W), in changed colours."""
        channels = self.config.out_channels
        whole = self.config.in_channels // channels * channels  # further channels, of noise, are no image
        images = torch.cat([side[:, :whole] for side in sides], dim=1).unflatten(1, (-1, channels))
        chosen = (weights[:, :, None] * images).sum(1)
        return chosen + (matrix.unflatten(1, (channels, channels)) * chosen[:, None]).sum(2)

    def _sides(self, x: Tensor) -> list[Tensor]:
        """Return the input (B, in_channels, H, W), and mirrored ones if the network gets them."""
        return [x, x.flip(3), x.flip(2)] if self.config.mirrors else [x]

    def _first_features(self, sides: list[Tensor]) -> Tensor:
        """Return what the first layer gets of the sides of an input, in patches."""
        patches, *mirrored = (F.pixel_unshuffle(side, self.config.patch) for side in sides)
        places = [place_features(patches)] if self.config.places else []
        return torch.cat([patches, *places, *mirrored], dim=1) if places or mirrored else patches
