"""What the networks have in common that code images as latents, and decode them again."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Coder(nn.Module, ABC):
    """Images to latents and back. As a network of a model it is F(x, time): its image of the latents of the source.

    channels: of the latents. factor: pixels of an image, along each side, for one position of its latents.
    reach: positions of the latents that an image depends on around its own, and the other way round, at most.
    `shift` and `scale` (channels,) bring each channel of the latents to mean 0 and a common standard deviation.
    """

    batch_invariant = True
    reach: int
    shift: Tensor
    scale: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.channels, self.factor = channels, factor
        self.register_buffer("shift", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    @property
    def size_multiple(self) -> int:
        """What height and width of images must be multiples of."""
        return self.factor

    @abstractmethod
    def raw(self, image: Tensor) -> Tensor:
        """Return the latents (N, channels, h, w) of images (N, 3, H, W) before `shift` and `scale`."""

    @abstractmethod
    def open(self, raw: Tensor) -> Tensor:
        """Return the images (N, 3, H, W) of latents (N, channels, h, w) before `shift` and `scale`."""

    @abstractmethod
    def calibrate(self, mean: Tensor, deviation: Tensor) -> None:
        """Set `shift` and `scale` from the mean and standard deviation (channels,) of raw latents."""

    def begin(self, images: Tensor) -> None:
        """Set fresh weights from images (N, 3, H, W) of the training, where a network can."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the coded source (B, 3, H, W) of x (B, 6, H, W): a state, which has no effect, and the source."""
        source = x[:, 3:]
        if self.training:
            return self.open(self.raw(source))
        return self.decode_image(self.encode_image(source)).to(x.dtype)

    def encode_image(self, image: Tensor) -> Tensor:
        """Return the latents (N, channels, h, w), float32, of images (N, 3, H, W)."""
        latents = (self.raw(image) - self.shift.view(1, -1, 1, 1)) * self.scale.view(1, -1, 1, 1)
        return latents.float()

    def decode_image(self, latents: Tensor) -> Tensor:
        """Return the images (N, 3, H, W), float32, of latents (N, channels, h, w)."""
        code = latents.to(self.shift.dtype) / self.scale.view(1, -1, 1, 1) + self.shift.view(1, -1, 1, 1)
        return self.open(code).float()


def neighbourhood(blocks: int, patch: int, levels: int) -> int:
    """Return the reach of so many residual blocks of two convolutions on each level, and one convolution more."""
    factor = patch * 2 ** (levels - 1)
    pixels = sum((2 * blocks + 1) * patch * 2**level for level in range(levels))
    return -(-pixels // factor) + 1
