"""The parts of a Stable Diffusion pipeline, from a folder in diffusers' layout: U-Net, autoencoder, text encoder.

Only safetensors files are read, and no code of the folder is run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.codecs.diffusers import EXTRA, MOST_LAYERS, DiffusersCodec, of_half_precision, repeats
from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError

FOLDERS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Parts:
    """The modules of a pipeline, named as their folders; `codec` is that of vae/."""

    unet: Any
    codec: DiffusersCodec
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
    types = {"unet": dtype, "vae": of_half_precision(dtype), "text_encoder": dtype}
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
    return Parts(codec=DiffusersCodec(parts.pop("vae")), **parts)


def _check_size(folder: Path, kind: Any) -> None:
    """Raise if a part's settings describe more weights than its file has bytes, before memory for them is allocated."""
    hint = "download the file again"
    try:
        settings = parse_json((folder / "config.json").read_bytes())
        if any(number > MOST_LAYERS for number in repeats(settings)):
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
