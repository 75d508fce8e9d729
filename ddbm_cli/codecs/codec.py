"""What a codec is, and the codec of models whose states are the pixels themselves."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.settings import settings


class Codec(nn.Module, ABC):
    """Images to latents and back. Each image is coded by itself, so its latents do not depend on its batch.

    channels: of the latents.
    factor: pixels of an image, along each side, for one position of its latents.
    """

    channels: int
    factor: int

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the latents (B, channels, H / factor, W / factor), float32, of images (B, 3, H, W) in -1..1."""
        return torch.cat([self.encode_image(image) for image in torch.split(images, 1)])

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, H, W), float32, about -1..1, of latents (B, channels, H / factor, W / factor)."""
        return torch.cat([self.decode_image(each) for each in torch.split(latents, 1)])

    @abstractmethod
    def encode_image(self, image: Tensor) -> Tensor:
        """Return the latents (N, channels, h, w) of images (N, 3, H, W), with derivatives where they are wanted."""

    @abstractmethod
    def decode_image(self, latents: Tensor) -> Tensor:
        """Return the images (N, 3, H, W) of latents (N, channels, h, w), with derivatives where they are wanted."""


@settings
class CodecConfig(ABC):
    """Base: the settings of a codec, as a card states them."""

    name: ClassVar[str]

    @abstractmethod
    def create(self) -> Codec:
        """Return the codec with fresh weights.

        Raises:
            UsageError: the settings cannot be built.
        """


class Pixels(Codec):
    """The identity: states are images."""

    channels, factor = 3, 1

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latents: Tensor) -> Tensor:
        return latents

    def encode_image(self, image: Tensor) -> Tensor:
        return image

    def decode_image(self, latents: Tensor) -> Tensor:
        return latents


@settings
class PixelsConfig(CodecConfig):
    """States are images."""

    name: ClassVar[str] = "pixels"

    def create(self) -> Codec:
        return Pixels()
