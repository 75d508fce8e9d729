"""Codecs: the space in which a model's states live, and the way from images to it and back."""

from ddbm_cli.codecs.autoencoder import AutoencoderCodecConfig
from ddbm_cli.codecs.codec import Codec, CodecConfig, Pixels, PixelsConfig
from ddbm_cli.codecs.diffusers import DiffusersConfig

CODECS: dict[str, type[CodecConfig]] = {
    each.name: each for each in (PixelsConfig, AutoencoderCodecConfig, DiffusersConfig)
}

__all__ = ["CODECS", "AutoencoderCodecConfig", "Codec", "CodecConfig", "DiffusersConfig", "Pixels", "PixelsConfig"]
