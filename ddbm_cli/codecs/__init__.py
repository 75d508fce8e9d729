"""Codecs: the space in which a model's states live, and the way from images to it and back."""

from ddbm_cli.codecs.autoencoder import AutoencoderConfig
from ddbm_cli.codecs.codec import Codec, CodecConfig, PixelsConfig
from ddbm_cli.codecs.diffusers import DiffusersConfig

CODECS: dict[str, type[CodecConfig]] = {each.name: each for each in (PixelsConfig, AutoencoderConfig, DiffusersConfig)}

__all__ = ["CODECS", "AutoencoderConfig", "Codec", "CodecConfig", "DiffusersConfig", "PixelsConfig"]
