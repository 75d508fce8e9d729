"""Networks of diffusers as F(latents, time): Stable Diffusion's U-Net (arXiv:2112.10752) and DiT (arXiv:2212.09748).

The embeddings of the texts that a network is conditioned on are a part of its weights, one for each label, so that no
text encoder is needed to use it. The package diffusers is imported when a network is built.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.foundation.text import one_line
from ddbm_cli.networks.text import NO_TOKEN

EXTRA = 'pip install "ddbm-cli[diffusers]"'

MOST_LAYERS = 128
"""Largest number of layers or blocks that a setting may state. Building thousands takes minutes."""

UNET, DIT = "UNet2DConditionModel", "DiTTransformer2DModel"

MODEL = "model."
"""Begins the names of the weights that are diffusers' own."""

FIRST = {UNET: "conv_in.weight", DIT: "pos_embed.proj.weight"}
"""Weights of the layer that takes state and source."""

RECOMPUTABLE = ("ResnetBlock2D", "BasicTransformerBlock")
"""Classes of diffusers' blocks whose activations can be computed a second time."""

SIZES = 6
"""Numbers that SDXL is conditioned on: heights and widths of the image before its crop, of the crop, and wanted."""

UNUSUAL = ("class_embed_type", "num_class_embeds", "encoder_hid_dim", "encoder_hid_dim_type", "time_cond_proj_dim")
"""Settings of U-Nets that take inputs which no model here has."""

Channels = Annotated[int, Field(ge=1, le=2**14)]


def built(kind: str, config: Mapping[str, Any], *, what: str, meaning: str) -> Any:
    """Return a model of diffusers with fresh weights.

    Args:
        kind: the name of its class. config: its settings, as in its config.json.
        what: the word for errors, such as "codec". meaning: what the package is needed for.

    Raises:
        UsageError: diffusers is not installed, or the settings cannot be built.
    """
    if any(number > MOST_LAYERS for number in repeats(config)):
        raise UsageError(f"{what}: more than {MOST_LAYERS} layers", hint="download the file again")
    try:
        import diffusers
    except ImportError:
        raise UsageError(f"{meaning} needs the package diffusers", hint=EXTRA) from None
    own = {name: value for name, value in config.items() if not name.startswith("_")}
    try:
        return getattr(diffusers, kind).from_config(own)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise UsageError(
            f"{what}: {kind} cannot be built ({one_line(error)[:120]})", hint="download the file again"
        ) from None


def repeats(config: Mapping[str, Any]) -> list[int]:
    """Return the numbers of a configuration that say how often a layer is repeated."""
    found: list[int] = []
    for name, value in config.items():
        if "layers" in name or (name.startswith("num_") and "block" in name):
            found += _whole_numbers(value)
    return found


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, list | tuple):
        return [number for each in value for number in _whole_numbers(each)]
    return [value] if type(value) is int else []


@settings
class DiffusersNetworkConfig:
    """A network of diffusers.

    kind: its class. config: the class's settings, as in its config.json; the numbers of channels here replace its own.
    in_channels: of x_t and x_T together. out_channels: of F; further ones, such as a predicted variance, are left out.
    tokens: of each text; 0 for networks that are used without text.
    classes: number of labels, each with a text of its own besides that of no label; None for none.
    texts: number of texts; None for those of the labels.
    pixels: of an image, along each side, for one position of its latents.
    text_features: width of the features of texts that labels are; None for labels that are numbers of texts.
    source_scale: what the source's channels of the input are multiplied with, where it was trained on other latents.
    """

    name: ClassVar[str] = "diffusers"
    at_once: ClassVar[bool] = False

    kind: Literal["UNet2DConditionModel", "DiTTransformer2DModel"] = "UNet2DConditionModel"
    config: dict[str, Any] = field(default_factory=dict)
    in_channels: Channels = 8
    out_channels: Channels = 4
    tokens: Annotated[int, Field(ge=0, le=4096)] = 0
    classes: Annotated[int, Field(ge=1, le=2**12)] | None = None
    texts: Annotated[int, Field(ge=1, le=2**12)] | None = None
    pixels: Annotated[int, Field(ge=1, le=2**8)] = 8
    source_scale: Annotated[float, Field(gt=0)] = 1.0
    text_features: Channels | None = None

    def create(self) -> "DiffusersNetwork":
        """Return the network with fresh weights.

        Raises:
            UsageError: diffusers is not installed, or the settings are of no known network.
        """
        fault = self.fault()
        if fault:
            raise UsageError(f"network: {fault}", hint="use another model")
        return DiffusersNetwork(self)

    def fault(self) -> str:
        """Return why this network is not used, "" where it is."""
        own = self.config
        odd = [name for name in UNUSUAL if own.get(name) is not None]
        if self.kind == UNET and odd:
            return f"a U-Net with {odd[0]}"
        added = own.get("addition_embed_type")
        if added not in (None, "text_time"):
            return f"a U-Net with addition_embed_type {str(added)[:40]!r}"
        if added and self.pooled < 1:
            return f"projection_class_embeddings_input_dim {own.get('projection_class_embeddings_input_dim')!r:.40}"
        if self.tokens and self.width < 1:
            return f"cross_attention_dim {own.get('cross_attention_dim')!r:.40}"
        if self.text_features and (self.text_features != self.width or not self.tokens):
            return f"text_features {self.text_features}, cross_attention_dim {self.width}"
        if self.text_features and (self.pooled or self.rows > 1):
            return "text_features, but it takes other texts"
        if not self.channels or min(self.channels) < 1:
            return "its config.json states no channels"
        if self.classes and self.rows != 1 + self.classes:
            return f"{self.rows} texts for {self.classes} classes"
        if self.classes and not self.tokens:
            return "classes, but it takes no texts"
        return ""

    @property
    def width(self) -> int:
        """Width of the embedding of a token, 0 where it takes no text."""
        width = self.config.get("cross_attention_dim", 1280) if self.kind == UNET else 0
        return width if type(width) is int else 0

    @property
    def pooled(self) -> int:
        """Width of the embedding of a whole text, 0 for networks without."""
        total = self.config.get("projection_class_embeddings_input_dim")
        each = self.config.get("addition_time_embed_dim")
        is_used = self.config.get("addition_embed_type") == "text_time" and type(total) is type(each) is int
        return max(0, total - SIZES * each) if is_used else 0  # type: ignore[operator]

    @property
    def rows(self) -> int:
        """Number of texts: that of no label, and those of the labels."""
        return self.texts or 1 + (self.classes or 0)

    @property
    def channels(self) -> list[int]:
        """Channels of each level."""
        if self.kind == UNET:
            return _whole_numbers(self.config.get("block_out_channels", [320, 640, 1280, 1280]))
        sizes = [self.config.get("num_attention_heads", 16), self.config.get("attention_head_dim", 72)]
        return [sizes[0] * sizes[1]] if all(type(each) is int for each in sizes) else []

    @property
    def size_multiple(self) -> int:
        """What height and width of latents must be multiples of."""
        patch = self.config.get("patch_size", 2)
        return int(2 ** (len(self.channels) - 1)) if self.kind == UNET else patch if type(patch) is int else 1

    @property
    def square_only(self) -> bool:
        """Whether its images must be square."""
        return self.kind == DIT

    def largest_activation(self, width: int, height: int) -> int:
        """Return how many numbers the largest activation has, for latents of a size."""
        first = 0 if self.kind == UNET else self.size_multiple.bit_length() - 1
        return max(each * (width >> level) * (height >> level) for level, each in enumerate(self.channels, first))

    def most_positions(self, width: int, height: int) -> int:
        """Return how many positions attend to each other, at most."""
        if self.kind == DIT:
            return (width // self.size_multiple) * (height // self.size_multiple)
        kinds = self.config.get("down_block_types")
        listed = kinds if isinstance(kinds, list | tuple) else ["CrossAttnDownBlock2D"]
        attends = [level for level, kind in enumerate(listed) if "Attn" in str(kind)]
        level = min([*attends, len(self.channels) - 1])
        return (width >> level) * (height >> level)


class DiffusersNetwork(nn.Module):
    """F(x, time), or F(x, time, label), of latents, conditioned on the text of its label.

    context: (texts, tokens, width), embeddings of texts: that of no label, then those of the labels. pooled: (texts,
    width), of whole texts, for SDXL. Both are weights that are not trained; `add_texts` adds rows.
    """

    context: Tensor
    pooled: Tensor

    def __init__(self, config: DiffusersNetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels = {"in_channels": config.in_channels}
        if config.kind == UNET:
            channels["out_channels"] = config.out_channels
        elif config.config.get("out_channels") is None:
            channels["out_channels"] = config.config.get("in_channels", config.out_channels)
        own = {**config.config, **channels}
        self.model: nn.Module = built(config.kind, own, what="network", meaning="this network")
        if config.kind == DIT:
            self.model.pos_embed.height = 0  # computed for each size: no file holds it
        if config.tokens:
            self.register_buffer("context", torch.zeros(config.rows, config.tokens, config.width))
        if config.pooled:
            self.register_buffer("pooled", torch.zeros(config.rows, config.pooled))

    @property
    def size_multiple(self) -> int:
        """What height and width of latents must be multiples of."""
        return self.config.size_multiple

    @property
    def recomputable(self) -> list[nn.Module]:
        """The blocks whose activations can be computed a second time in the backward pass instead of kept."""
        return [module for module in self.model.modules() if type(module).__name__ in RECOMPUTABLE]

    @property
    def first_layer(self) -> str:
        """Name of the weights of the layer that takes state and source."""
        return MODEL + FIRST[self.config.kind]

    @staticmethod
    def kind_of_layer(name: str, module: nn.Module) -> str:
        """Return what an adapter calls a layer: "attention", "convolutions", "embedding", or "" for none of these."""
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return ""
        if ".attentions." in name or ".transformer_blocks." in name:
            return "attention"
        return "convolutions" if isinstance(module, nn.Conv2d) else "embedding"

    def add_texts(self, context: Tensor, pooled: Tensor | None = None) -> None:
        """Add the embeddings of further texts, (N, tokens, width) and (N, width), as those of the next labels."""
        self.context = torch.cat([self.context, context.to(self.context)])
        if pooled is not None and self.config.pooled:
            self.pooled = torch.cat([self.pooled, pooled.to(self.pooled)])

    def keep_texts(self, count: int) -> None:
        """Remove the embeddings of all texts but the first ones."""
        self.context = self.context[:count]
        if self.config.pooled:
            self.pooled = self.pooled[:count]

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """Return F (B, out_channels, h, w).

        Args:
            x: (B, in_channels, h, w), the state's channels first.
            time: (B,), or (1,) for the whole batch.
            label: (B,) or (1,) integers, for networks with several texts; negative, or None, for the first of them.
                For those with `text_features`, features (B, tokens, text_features), or (1, ...); where all channels
                are NO_TOKEN, those of the first text.
        """
        count = len(x)
        if self.config.source_scale != 1:
            state, source = x.tensor_split([self.config.out_channels], dim=1)
            x = torch.cat([state, source * self.config.source_scale], dim=1)
        given = None
        if self.config.text_features and label is not None:
            given = torch.where((label == NO_TOKEN).all(dim=2, keepdim=True), self.context, label).to(x)
            given, label = given.expand(count, -1, -1), None
        rows = torch.zeros(1, dtype=torch.long, device=x.device) if label is None else label.clamp(min=-1) + 1
        call = {UNET: self._unet, DIT: self._dit}[self.config.kind]
        output: Tensor = call(x, time.expand(count), rows.expand(count), given)
        return output[:, : self.config.out_channels]

    def _unet(self, x: Tensor, time: Tensor, rows: Tensor, given: Tensor | None) -> Any:
        context = self.context.to(x)[rows] if self.config.tokens and given is None else given
        added = None
        if self.config.pooled:
            height, width = (side * self.config.pixels for side in x.shape[-2:])
            sizes = x.new_tensor([height, width, 0, 0, height, width]).expand(len(x), SIZES)
            added = {"text_embeds": self.pooled.to(x)[rows], "time_ids": sizes}
        return self.model(x, time, context, added_cond_kwargs=added, return_dict=False)[0]

    def _dit(self, x: Tensor, time: Tensor, rows: Tensor, given: Tensor | None) -> Any:
        none = torch.full_like(rows, int(self.config.config.get("num_embeds_ada_norm", 1000)))
        return self.model(x, time, none, return_dict=False)[0]
