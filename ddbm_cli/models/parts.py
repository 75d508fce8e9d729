"""The parts of a Stable Diffusion pipeline, from a folder in diffusers' layout: U-Net, autoencoder, text encoder.

Only safetensors files are read, and no code of the folder is run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError

EXTRA = 'pip install "ddbm-cli[diffusers]"'
REPEATED = ("layers_per_block", "num_hidden_layers", "transformer_layers_per_block")
MOST_LAYERS = 128
"""Settings that repeat layers, and the largest number that is built."""

FOLDERS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Parts:
    """The modules of a pipeline, named as their folders, and the tokenizer."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any

    @torch.no_grad()
    def embed(self, texts: list[str]) -> Tensor:
        """Return the embeddings (N, tokens, width) of texts."""
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        embeddings: Tensor = self.text_encoder(tokens.input_ids.to(self.unet.device))[0]
        return embeddings

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return the latents (B, C, h, w) of images (B, 3, H, W), -1..1: the mean of the encoder's distribution."""
        moments = self.vae.encode(images.to(self.vae.dtype), return_dict=False)[0]
        latents: Tensor = moments.mode().float() * self.vae.config.scaling_factor
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, H, W), about -1..1."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
        images: Tensor = self.vae.decode(scaled, return_dict=False)[0].float()
        return images


def load_parts(folder: Path, device: torch.device, dtype: torch.dtype) -> Parts:
    """Load a folder in diffusers' layout.

    Raises:
        ModelError: diffusers is not installed, or the folder has not all that is needed.
    """
    try:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from diffusers.utils import logging as diffusers_logging
        from transformers import CLIPTextModel, CLIPTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError:
        raise ModelError("Stable Diffusion's parts need the package diffusers", hint=EXTRA) from None
    for each in (diffusers_logging, transformers_logging):
        each.set_verbosity_error()
        each.disable_progress_bar()
    # The decoder's numbers are too large for half precision.
    types = {"unet": dtype, "vae": torch.float32 if dtype == torch.float16 else dtype, "text_encoder": dtype}
    kinds = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    for part, kind in kinds.items():
        _check_size(folder / part, kind)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    try:
        parts: dict[str, Any] = {
            part: kind.from_pretrained(folder / part, torch_dtype=types[part], **options).to(device)
            for part, kind in kinds.items()
        }
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{folder}: cannot be loaded ({reason})", hint="download the folder again, with its .safetensors files"
        ) from None
    for part in kinds:
        parts[part].eval().requires_grad_(False)
    return Parts(**parts)


def _check_size(folder: Path, kind: Any) -> None:
    """Raise if a part's settings describe more weights than its file has bytes, before memory for them is allocated."""
    hint = "download the file again"
    try:
        settings = parse_json((folder / "config.json").read_bytes())
        repeated = [settings.get(name, 0) for name in REPEATED]
        if any(number > MOST_LAYERS for each in repeated for number in (each if isinstance(each, list) else [each])):
            raise ModelError(f"{folder}: its config.json describes more than {MOST_LAYERS} layers", hint=hint)
        with torch.device("meta"):
            if hasattr(kind, "from_config"):
                network = kind.from_config(settings)
            else:
                network = kind(kind.config_class.from_dict(settings))
        wanted = sum(each.numel() for each in network.parameters())
        found = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder}: config.json is not readable ({str(error)[:100]})", hint=hint) from None
    if found and found < wanted:
        raise ModelError(
            f"{folder}: its config.json describes {wanted:,} weights, its file has {found:,} bytes", hint=hint
        )
