"""Stable Diffusion's parts behind our own call: F(latents, time), between an encoder and a decoder of pictures.

The parts are those of a folder in diffusers' layout: `unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler`. Only
safetensors files are read, and no code of the folder is run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.foundation.errors import ModelError

EXTRA = 'pip install "ddbm-cli[diffusers]"'
REPEATED = ("layers_per_block", "num_hidden_layers", "transformer_layers_per_block")
MOST_LAYERS = 128
"""Settings that repeat layers, and the largest number that is built."""

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


class LatentNetwork(nn.Module):
    """F(x, time) of latents x (B, C, h, w), told by a text.

    Args:
        parts: the modules, by the names of their folders, and the tokenizer.
        schedule: the scheduler's settings as diffusers writes them.
    """

    def __init__(self, parts: Mapping[str, Any], schedule: Mapping[str, Any]) -> None:
        super().__init__()
        self.unet, self.vae, self.text_encoder = parts["unet"], parts["vae"], parts["text_encoder"]
        self.schedule = dict(schedule)
        self._tokenizer = parts["tokenizer"]
        self._told: Tensor | None = None
        self._scale = 1.0

    @property
    def size(self) -> int:
        """Side of the pictures that it was trained on."""
        return int(self.unet.config.sample_size) * self.shrinks

    @property
    def shrinks(self) -> int:
        """How many pixels a latent stands for, along each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @torch.no_grad()
    def tell(self, text: str, *, scale: float = 1.0) -> None:
        """Say what the pictures show; `scale` > 1 exaggerates it (arXiv:2207.12598), at twice the work.

        With it, F = F(nothing said) + scale (F(text) - F(nothing said)), both in one batch.
        """
        said = [text] if scale == 1 else ["", text]
        tokens = self._tokenizer(
            said,
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        self._told = self.text_encoder(tokens.input_ids.to(self.unet.device))[0]
        self._scale = scale

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return F, as x; `time` is (B,), or (1,) for the whole batch."""
        assert self._told is not None, "say first what the pictures show"
        time = time.expand(len(x))
        kinds = len(self._told)
        told = self._told.to(x).repeat_interleave(len(x), dim=0)
        output: Tensor = self.unet(x.repeat(kinds, 1, 1, 1), time.repeat(kinds), told, return_dict=False)[0]
        if kinds == 1:
            return output
        unsaid, said = output.chunk(2)
        return unsaid + self._scale * (said - unsaid)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return the latents (B, C, h, w) of pictures (B, 3, H, W), -1..1: the mean of what the encoder gives."""
        moments = self.vae.encode(pictures.to(self.vae.dtype), return_dict=False)[0]
        return moments.mode().float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W), about -1..1."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.dtype)
        return self.vae.decode(scaled, return_dict=False)[0].float()


def load_latent(folder: Path, device: torch.device, dtype: torch.dtype) -> LatentNetwork:
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
        _see_that_it_fits(folder / part, kind)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    try:
        parts: dict[str, Any] = {
            part: kind.from_pretrained(folder / part, torch_dtype=types[part], **options).to(device)
            for part, kind in kinds.items()
        }
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        schedule = parse_json((folder / "scheduler" / "scheduler_config.json").read_bytes())
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{folder}: cannot be loaded ({reason})", hint="download the folder again, with its .safetensors files"
        ) from None
    return LatentNetwork(parts, schedule).eval().requires_grad_(False)


def _see_that_it_fits(folder: Path, kind: Any) -> None:
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
