"""From a card to its denoiser, after checks that need neither weights nor memory.

A card may come from anywhere. So its settings are compared with each other, and the memory that one image needs is
bounded, before a network is built; and a network that is to be filled from a file is built on the meta device.
"""

import torch

from ddbm_cli.denoisers import PREDICTIONS, Denoiser
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.card import AGAIN, ModelCard
from ddbm_cli.networks import NETWORKS, ADMConfig
from ddbm_cli.networks.pix2pix import Pix2PixConfig
from ddbm_cli.paths import PATHS, ProbabilityPath

IMAGE_CHANNELS = 3

LARGEST_ACTIVATION = 2**26
"""Numbers of the largest activation of one image: ADM's 512x512 network has as many."""

MOST_BLOCKS = 64
"""Residual blocks on the way down. Building thousands takes minutes, even without memory; ADM's largest has 18."""

MOST_POSITIONS = 2**15
"""Positions that attend to each other: 181x181. Their products grow with the square of this."""


def assemble(card: ModelCard) -> Denoiser:
    """Build the denoiser that a card describes, with fresh weights.

    Raises:
        ModelError: the card names an unknown network, path or prediction, contradicts itself, or needs too much memory.
    """
    try:
        config = build(NETWORKS, card.network, what="network")
        path = build(PATHS, card.path, what="path")
        fault = _contradiction(card, path) or _shape_fault(card, config)
        if fault:
            raise UsageError(fault, hint="")
        return Denoiser(
            config.create(),
            path,
            build(PREDICTIONS, card.prediction, what="prediction"),
            sees_source=card.concat_source,
        )
    except UsageError as error:
        hint = f"upgrade ddbm-cli, or {AGAIN}" if error.message.startswith("unknown") else AGAIN
        raise ModelError(f"model '{card.name[:80]}': card: {error.message[:300]}", hint=hint) from None


def outline(card: ModelCard) -> Denoiser:
    """Return the denoiser that a card describes without memory for its weights, on the meta device.

    Raises:
        ModelError: as `assemble`.
    """
    with torch.device("meta"):
        denoiser = assemble(card)
    own, multiple = card.preprocess, int(getattr(denoiser.network, "size_multiple", 1))
    if own.width % multiple or own.height % multiple:
        raise ModelError(
            f"model '{card.name[:80]}': card: preprocess.size {own.size} is not a multiple of {multiple}", hint=AGAIN
        )
    return denoiser


def is_too_deep(config: ADMConfig) -> bool:
    """Return whether a network has so many blocks that it is not built."""
    return len(config.multipliers) * config.blocks > MOST_BLOCKS


def _contradiction(card: ModelCard, path: ProbabilityPath) -> str:
    """Return in what the card's fields contradict its path, "" for nothing."""
    if path.source_free and not card.concat_source and card.kind == "bridge":
        return f"a bridge whose network gets no source, on path '{path.name}', which has none either"
    return ""


def _shape_fault(card: ModelCard, config: object) -> str:
    """Return what is wrong with the network's channels or the size of images, "" for nothing."""
    if not isinstance(config, ADMConfig | Pix2PixConfig):
        return ""
    size, shape = card.preprocess.size, (card.preprocess.width, card.preprocess.height)
    wanted = IMAGE_CHANNELS * (2 if card.concat_source else 1)
    if isinstance(config, ADMConfig) and is_too_deep(config):
        return f"network.blocks is {config.blocks} on {len(config.multipliers)} levels; at most {MOST_BLOCKS} in all"
    if config.out_channels != IMAGE_CHANNELS:
        return f"network.out_channels is {config.out_channels}, images have {IMAGE_CHANNELS}"
    if config.in_channels != wanted:
        return f"network.in_channels is {config.in_channels}, state and source have {wanted}"
    if _largest_activation(config, *shape) > LARGEST_ACTIVATION:
        return f"preprocess.size {size} is too large for this network: one image would not fit into memory"
    if _most_positions(config, *shape) > MOST_POSITIONS:
        return f"preprocess.size {size} is too large for this network's attention"
    return ""


def _largest_activation(config: ADMConfig | Pix2PixConfig, width: int, height: int) -> int:
    """Return how many numbers the largest activation of an image has."""
    if isinstance(config, Pix2PixConfig):
        return max(config.channels * (width // 2) * (height // 2), IMAGE_CHANNELS * width * height)
    across, down = width // config.patch, height // config.patch
    channels = (config.channels * multiplier for multiplier in config.multipliers)
    return max(each * (across >> level) * (down >> level) for level, each in enumerate(channels))


def _most_positions(config: ADMConfig | Pix2PixConfig, width: int, height: int) -> int:
    """Return how many positions attend to each other, at most."""
    if isinstance(config, Pix2PixConfig):
        return 0
    across, down, last = width // config.patch, height // config.patch, len(config.multipliers) - 1
    levels = (level for level in range(last + 1) if level == last or 2**level in config.attention)
    return max((across >> level) * (down >> level) for level in levels)
