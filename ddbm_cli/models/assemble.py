"""From a card to its denoiser, after checks that need neither weights nor memory.

A card may come from anywhere. So its settings are compared with each other, and the memory that one image needs is
bounded, before a network is built; and a network that is to be filled from a file is built on the meta device.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ddbm_cli.codecs import CODECS, AutoencoderCodecConfig, Codec, CodecConfig
from ddbm_cli.denoisers import PREDICTIONS, Denoiser
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.card import AGAIN, ModelCard
from ddbm_cli.networks import NETWORKS, ADMConfig, DiffusersNetworkConfig, UNetConfig
from ddbm_cli.networks.pix2pix import Pix2PixConfig
from ddbm_cli.paths import PATHS, ProbabilityPath

CODEC_PREFIX = "codec."
"""Begins the names of the codec's weights in a model file; those of the network have no prefix."""

LARGEST_ACTIVATION = 2**26
"""Numbers of the largest activation of one image: ADM's 512x512 network has as many."""

MOST_BLOCKS = 64
"""Residual blocks on the way down. Building thousands takes minutes, even without memory; ADM's largest has 18."""

MOST_POSITIONS = 2**15
"""Positions that attend to each other: 181x181. Their products grow with the square of this."""

ShapedConfig = ADMConfig | UNetConfig | Pix2PixConfig | DiffusersNetworkConfig
"""Networks whose activations grow with the image."""


def assemble(card: ModelCard) -> Denoiser:
    """Build the denoiser that the card of a file describes, with fresh weights.

    Raises:
        ModelError: the card names an unknown network, path or prediction, contradicts itself, or needs too much memory.
    """
    try:
        return assemble_new(card)
    except UsageError as error:
        raise _as_model_error(card, error) from None


def assemble_new(card: ModelCard) -> Denoiser:
    """Build the denoiser of a card that was made from a user's settings, with fresh weights.

    Raises:
        UsageError: as the ModelError of `assemble`.
    """
    config = build(NETWORKS, card.network, what="network")
    path = build(PATHS, card.path, what="path")
    codec = outline_codec(card)
    fault = _contradiction(card, path) or _shape_fault(card, config, codec)
    if fault:
        raise UsageError(fault, hint="pass other settings of the network, the path or the size")
    return Denoiser(
        config.create(),
        path,
        build(PREDICTIONS, card.prediction, what="prediction"),
        sees_source=card.concat_source,
        noise_channels=card.noise_channels,
    )


def assemble_codec(card: ModelCard) -> Codec:
    """Build the codec that a card describes, with fresh weights.

    Raises:
        ModelError: the card names an unknown codec, or one that is too large.
    """
    try:
        config = build(CODECS, card.codec, what="codec")
        fault = _codec_fault(config)
        if fault:
            raise UsageError(fault, hint="")
        return config.create()
    except UsageError as error:
        raise _as_model_error(card, error) from None


def outline_codec(card: ModelCard) -> Codec:
    """Return the codec that a card describes without memory for its weights, on the meta device.

    Raises:
        ModelError: as `assemble_codec`.
    """
    with torch.device("meta"):
        return assemble_codec(card)


Denoisers = Denoiser | Mapping[str, Denoiser]
"""The denoiser of a model, or those of its directions by name."""


def modules_of(denoisers: Denoisers, codec: Codec) -> dict[str, nn.Module]:
    """Return the modules whose weights a model file holds, by the prefix of their names in it."""
    if isinstance(denoisers, Denoiser):
        return {"": denoisers.network, CODEC_PREFIX: codec}
    return {f"{name}.": each.network for name, each in denoisers.items()} | {CODEC_PREFIX: codec}


def weights_of(denoisers: Denoisers, codec: Codec) -> dict[str, Tensor]:
    """Return the weights of a model under their names in a model file."""
    modules = modules_of(denoisers, codec)
    return {f"{prefix}{name}": value for prefix, each in modules.items() for name, value in each.state_dict().items()}


def divided(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the network and those of the codec, under their names in a model file."""
    codec = {name: value for name, value in weights.items() if name.startswith(CODEC_PREFIX)}
    return {name: value for name, value in weights.items() if name not in codec}, codec


def _as_model_error(card: ModelCard, error: UsageError) -> ModelError:
    hint = f"upgrade ddbm-cli, or {AGAIN}" if error.message.startswith("unknown") else AGAIN
    hint = error.hint if error.hint and "pip install" in error.hint else hint
    return ModelError(f"model '{card.name[:80]}': card: {error.message[:300]}", hint=hint)


def outline(card: ModelCard) -> Denoiser:
    """Return the denoiser that a card describes without memory for its weights, on the meta device.

    Raises:
        ModelError: as `assemble`.
    """
    with torch.device("meta"):
        denoiser = assemble(card)
    own = card.preprocess
    multiple = size_multiple(denoiser, outline_codec(card))
    if own.width % multiple or own.height % multiple:
        raise ModelError(
            f"model '{card.name[:80]}': card: preprocess.size {own.size} is not a multiple of {multiple}", hint=AGAIN
        )
    return denoiser


def size_multiple(denoiser: Denoiser, codec: Codec) -> int:
    """Return what width and height of a model's images, in pixels, must be multiples of."""
    return codec.factor * int(getattr(denoiser.network, "size_multiple", 1))


def is_too_deep(config: ADMConfig) -> bool:
    """Return whether a network has so many blocks that it is not built."""
    return len(config.multipliers) * config.blocks > MOST_BLOCKS


def _contradiction(card: ModelCard, path: ProbabilityPath) -> str:
    """Return in what the card's fields contradict its path, "" for nothing."""
    if path.source_free and not card.concat_source and card.kind == "bridge":
        return f"a bridge whose network gets no source, on path '{path.name}', which has none either"
    return ""


def _codec_fault(config: CodecConfig) -> str:
    """Return what is wrong with the size of a codec, "" for nothing."""
    if isinstance(config, AutoencoderCodecConfig) and len(config.multipliers) * config.blocks > MOST_BLOCKS:
        return f"codec.blocks is {config.blocks} on {len(config.multipliers)} levels; at most {MOST_BLOCKS} in all"
    return ""


def _shape_fault(card: ModelCard, config: object, codec: Codec) -> str:
    """Return what is wrong with the network's channels or the size of images, "" for nothing."""
    if not isinstance(config, ShapedConfig):
        return ""
    size, shape = card.preprocess.size, (card.preprocess.width // codec.factor, card.preprocess.height // codec.factor)
    channels, states = codec.channels, "images have" if codec.factor == 1 else "latents have"
    wanted = channels * (2 if card.concat_source else 1) + card.noise_channels
    if isinstance(config, ADMConfig) and is_too_deep(config):
        return f"network.blocks is {config.blocks} on {len(config.multipliers)} levels; at most {MOST_BLOCKS} in all"
    if config.out_channels != channels:
        return f"network.out_channels is {config.out_channels}, {states} {channels}"
    if config.in_channels != wanted:
        return f"network.in_channels is {config.in_channels}, state, source and noise have {wanted}"
    if isinstance(config, DiffusersNetworkConfig) and (fault := config.fault()):
        return f"network: {fault}"
    if isinstance(config, DiffusersNetworkConfig) and config.square_only and shape[0] != shape[1]:
        return f"preprocess.size {size} is not square, as images of this network must be"
    if config.largest_activation(*shape) > LARGEST_ACTIVATION:
        return f"preprocess.size {size} is too large for this network: one image would not fit into memory"
    if config.most_positions(*shape) > MOST_POSITIONS:
        return f"preprocess.size {size} is too large for this network's attention"
    return ""
