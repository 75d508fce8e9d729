"""Images as latents, each coded once: a cache by the content of the augmented image, in memory and in a file.

An image that is flipped has two contents, so two entries. Augmentations with continuous parameters give new contents in
every epoch; then the cache fills up to its limits, and images are coded in every step.
"""

import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.codecs import Codec
from ddbm_cli.foundation.hashing import sha256
from ddbm_cli.registry.folders import cache_folder
from ddbm_cli.training.cache import DecodedCache
from ddbm_cli.training.latent_file import LatentFile
from ddbm_cli.training.pair_files import digest_of


class Encoder:
    """Codes batches of images.

    Args:
        codec: with its weights, on the device that codes.
        size: (height, width) of the images, in pixels.
        count: number of images to keep in memory, at most.
        memory: bytes to keep in memory, at most. disk: bytes of the file of `keep_in`, at most.
    """

    def __init__(self, codec: Codec, size: tuple[int, int], *, count: int, memory: int = 0, disk: int = 0) -> None:
        self.codec = codec
        height, width = (side // codec.factor for side in size)
        self.shape = (codec.channels, height, width)
        """Of the latents of one image."""
        self._length = codec.channels * height * width
        self.cache = DecodedCache([(4 * self._length,)] * count, memory=memory, folder=cache_folder())
        self._count, self._disk = count, disk
        self._known: dict[bytes, int] = {}
        self._file: LatentFile | None = None
        self._lock = threading.Lock()
        self.coded = 0
        """Number of images that were coded, and not taken from the cache."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the latents (B, C, h, w), float32 on the CPU, of images (B, 3, H, W) in -1..1."""
        return torch.stack([self._one(image) for image in images])

    def keep_in(self, path: Path, *, writes: bool = True) -> None:
        """Use the latents in a file that this codec made on the same kind of device, and keep all latents there.

        writes: whether the file may be created and changed.
        """
        if self._file:
            self._file.close()
            self._file = None
        with suppress(OSError):
            if writes:
                path.parent.mkdir(exist_ok=True)
            self._file = LatentFile(path, self._digest, self._length, most=self._disk if writes else None)
            for key, index in self._known.items():
                found = self.cache.kept(index)
                if found is not None:
                    self._file.put(key, found.view(torch.float32))

    @cached_property
    def _digest(self) -> bytes:
        """Of what latents depend on; the codec is on its device by then."""
        device = next(self.codec.parameters()).device
        return bytes.fromhex(digest_of(self.codec, device.type, self.shape))

    def forget(self) -> None:
        """Delete the file."""
        if self._file:
            self._file.remove()
            self._file = None

    def _one(self, image: Tensor) -> Tensor:
        key = bytes.fromhex(sha256(image.contiguous().numpy().tobytes()))
        with self._lock:
            index = self._known.get(key)
            if index is None and len(self._known) < self._count:
                index = self._known[key] = len(self._known)

        def code(_: int) -> Tensor:
            latents = self._file.get(key) if self._file else None
            if latents is None:
                self.coded += 1
                device = next(self.codec.parameters()).device
                latents = self.codec.encode(image[None].to(device))[0].cpu().contiguous().view(-1)
                if self._file:
                    self._file.put(key, latents)
            return latents.view(torch.uint8)

        body = code(0) if index is None else self.cache.get(index, code)
        return body.view(torch.float32).view(self.shape)
