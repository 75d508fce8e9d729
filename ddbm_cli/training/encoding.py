"""Images as latents, each coded once: a cache by the content of the augmented image, within limits.

An image that is flipped has two contents, so two entries. Augmentations with continuous parameters give new contents in
every epoch; then the cache fills up to its limits, and images are coded in every step.
"""

import threading
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.codecs import Codec
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.training.cache import DecodedCache


class Encoder:
    """Codes batches of images.

    Args:
        codec: with its weights, on the device that codes.
        size: (height, width) of the images, in pixels.
        count: number of images to keep, at most.
        memory, disk: bytes to keep, at most.
    """

    def __init__(
        self,
        codec: Codec,
        size: tuple[int, int],
        *,
        count: int,
        memory: int = 0,
        disk: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.codec = codec
        height, width = (side // codec.factor for side in size)
        self.shape = (codec.channels, height, width)
        """Of the latents of one image."""
        length = 4 * codec.channels * height * width
        self.cache = DecodedCache([(length,)] * count, memory=memory, disk=disk, folder=folder or cache_folder())
        self._count = count
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()
        self.coded = 0
        """Number of images that were coded, and not taken from the cache."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the latents (B, C, h, w), float32 on the CPU, of images (B, 3, H, W) in -1..1."""
        return torch.stack([self._one(image) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        key = sha256(image.contiguous().numpy().tobytes())
        with self._lock:
            index = self._known.get(key)
            if index is None and len(self._known) < self._count:
                index = self._known[key] = len(self._known)

        def code(_: int) -> Tensor:
            self.coded += 1
            device = next(self.codec.parameters()).device
            latents: Tensor = self.codec.encode(image[None].to(device))[0].cpu().contiguous()
            return latents.view(-1).view(torch.uint8)

        body = code(0) if index is None else self.cache.get(index, code)
        return body.view(torch.float32).view(self.shape)
