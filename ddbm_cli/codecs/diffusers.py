"""Autoencoders of diffusers as codecs: AutoencoderKL (Stable Diffusion), AutoencoderTiny (TAESD), AutoencoderDC (SANA).

    z = (E(x) - shift_factor) scaling_factor,    x = D(z / scaling_factor + shift_factor)          (1)

E(x) is the mean of the encoder's distribution where it has one. Large images are coded in tiles, as diffusers does.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ddbm_cli.codecs.codec import Codec, CodecConfig
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.foundation.text import one_line

EXTRA = 'pip install "ddbm-cli[diffusers]"'

LARGEST_WHOLE = 512
"""Sides of the largest image, in pixels, that is coded as a whole; larger ones are coded in tiles."""

MOST_LAYERS = 128
"""Largest number of layers or blocks that a setting may state. Building thousands takes minutes."""


@settings
class DiffusersConfig(CodecConfig):
    """An autoencoder of diffusers.

    kind: its class. config: the class's settings, as in its config.json.
    """

    name: ClassVar[str] = "diffusers"

    kind: Literal["AutoencoderKL", "AutoencoderTiny", "AutoencoderDC"] = "AutoencoderKL"
    config: dict[str, Any]

    def create(self) -> "DiffusersCodec":
        if any(number > MOST_LAYERS for number in repeats(self.config)):
            raise UsageError(f"codec: more than {MOST_LAYERS} layers", hint="download the file again")
        try:
            import diffusers
        except ImportError:
            raise UsageError("this model's autoencoder needs the package diffusers", hint=EXTRA) from None
        own = {name: value for name, value in self.config.items() if not name.startswith("_")}
        try:
            return DiffusersCodec(getattr(diffusers, self.kind).from_config(own))
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise UsageError(
                f"codec: {self.kind} cannot be built ({one_line(error)[:120]})", hint="download the file again"
            ) from None


def repeats(config: dict[str, Any]) -> list[int]:
    """Return the numbers of a configuration that say how often a layer is repeated."""
    found: list[int] = []
    for name, value in config.items():
        if "layers" in name or (name.startswith("num_") and "block" in name):
            found += [each for each in (value if isinstance(value, list | tuple) else [value]) if type(each) is int]
    return found


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
