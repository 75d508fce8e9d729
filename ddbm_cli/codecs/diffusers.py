"""Autoencoders of diffusers as codecs: AutoencoderKL (Stable Diffusion), AutoencoderTiny (TAESD), AutoencoderDC (SANA).

    z = (E(x) - shift_factor) scaling_factor,    x = D(z / scaling_factor + shift_factor)          (1)

E(x) is the mean of the encoder's distribution where it has one. Large images are coded in tiles, as diffusers does.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ddbm_cli.codecs.codec import Codec, CodecConfig
from ddbm_cli.foundation.settings import settings
from ddbm_cli.networks.diffusers import built

LARGEST_WHOLE = 512
"""Sides of the largest image, in pixels, that is coded as a whole; larger ones are coded in tiles."""


@settings
class DiffusersConfig(CodecConfig):
    """An autoencoder of diffusers.

    kind: its class. config: the class's settings, as in its config.json.
    """

    name: ClassVar[str] = "diffusers"

    kind: Literal["AutoencoderKL", "AutoencoderTiny", "AutoencoderDC"] = "AutoencoderKL"
    config: dict[str, Any]

    def create(self) -> "DiffusersCodec":
        meaning = "this model's autoencoder"
        return DiffusersCodec(built(self.kind, self.config, what="codec", meaning=meaning))


class DiffusersCodec(Codec):
    """Wraps an autoencoder of diffusers, whose weights keep its own names.

    Args:
        vae: an AutoencoderKL, AutoencoderTiny or AutoencoderDC.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.channels = int(vae.config.latent_channels)
        self.factor = _factor(vae)
        if hasattr(vae, "tile_latent_min_size"):  # theirs is the size of the training images, which may be far smaller
            vae.tile_sample_min_size = LARGEST_WHOLE
            vae.tile_latent_min_size = LARGEST_WHOLE // self.factor
            if hasattr(vae, "spatial_scale_factor"):  # of AutoencoderTiny, which has 8 for every number of levels
                vae.spatial_scale_factor = self.factor
        else:
            side, stride = LARGEST_WHOLE, LARGEST_WHOLE * 7 // 8 // self.factor * self.factor
            vae.enable_tiling(side, side, stride, stride)

    @property
    def scaling(self) -> tuple[float, float]:
        """`scaling_factor` and `shift_factor` of (1)."""
        own = self.vae.config
        return float(getattr(own, "scaling_factor", None) or 1.0), float(getattr(own, "shift_factor", None) or 0.0)

    def encode_image(self, image: Tensor) -> Tensor:
        self._tile(*image.shape[-2:])
        encoded = self.vae.encode(image.to(self.vae.dtype), return_dict=False)[0]
        mean: Tensor = encoded if isinstance(encoded, Tensor) else encoded.mode()
        scale, shift = self.scaling
        return (mean.float() - shift) * scale

    def decode_image(self, latents: Tensor) -> Tensor:
        self._tile(*(side * self.factor for side in latents.shape[-2:]))
        scale, shift = self.scaling
        image: Tensor = self.vae.decode((latents / scale + shift).to(self.vae.dtype), return_dict=False)[0]
        return image.float()

    def _tile(self, height: int, width: int) -> None:
        self.vae.use_tiling = max(height, width) > LARGEST_WHOLE


def _factor(vae: Any) -> int:
    """Return the pixels for one position of the latents."""
    own = vae.config
    names = ("block_out_channels", "encoder_block_out_channels")
    return int(2 ** (len(next(own[name] for name in names if name in own)) - 1))


def of_half_precision(dtype: torch.dtype) -> torch.dtype:
    """Return the number type of an autoencoder: the values inside a decoder are too large for float16."""
    return torch.float32 if dtype == torch.float16 else dtype
