"""Stable Diffusion as a prior: its schedule is a path, its U-Net a denoiser, and its images are encoded to latents.

So all samplers work with it, SDEdit's strength is the same noise level as on other priors, and NFE are counted alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddbm_cli.denoisers import PREDICTIONS, Denoiser
from ddbm_cli.foundation.devices import choose_device, choose_dtype
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.card import AGAIN, ModelCard, parse_card
from ddbm_cli.models.layout import read_json
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.parts import FOLDERS, load_parts
from ddbm_cli.networks.latent import TextUNet
from ddbm_cli.paths import PATHS
from ddbm_cli.registry.card_format import FORMAT

UNET, VAE, SCHEDULE = "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}
MEANINGS = {"epsilon": "noise", "v_prediction": "v", "sample": "x0"}

DEFAULTS = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "uniform", "gap": 1e-3},
    "start": {"name": "prior"},
    "steps": 50,
}


def load_pipeline(
    folder: Path, *, device: str = "auto", dtype: str = "auto", prompt: str = "", guidance_scale: float = 7.5
) -> TranslationModel:
    """Load a Stable Diffusion pipeline from a folder in diffusers' layout.

    Args:
        folder: with unet/, vae/, text_encoder/, tokenizer/ and scheduler/.
        device, dtype: as of `load_file`.
        prompt: the text that describes the images, "" for none.
        guidance_scale: scale of classifier-free guidance by the text; 1 is off.

    Raises:
        ModelError: it is no such pipeline, or diffusers is not installed.
        UsageError: no such device or dtype.
    """
    where = choose_device(device)
    number = choose_dtype(dtype, where)
    card = card_of_pipeline(folder)
    parts = load_parts(folder, where, number)
    scale = guidance_scale if prompt else 1.0
    context = parts.embed([prompt] if scale == 1 else ["", prompt])
    denoiser = Denoiser(
        TextUNet(parts.unet, context, scale=scale),
        build(PATHS, card.path, what="path"),
        build(PREDICTIONS, card.prediction, what="prediction"),
        sees_source=False,
    )
    return TranslationModel(card, denoiser, parts.codec, digest=pipeline_digest(folder))


def card_of_pipeline(folder: Path) -> ModelCard:
    """Return the card of a pipeline, from its settings; its weights are not read.

    Raises:
        ModelError: it is no text-to-image pipeline, or a file is damaged.
    """
    absent = [part for part in FOLDERS if not (folder / part).is_dir()]
    if absent:
        raise ModelError(
            f"{folder}: not a Stable Diffusion pipeline: it has no {', '.join(absent)}",
            hint="specify a folder with model_index.json, unet/, vae/, text_encoder/, tokenizer/ and scheduler/",
        )
    unet, vae, schedule = (read_json(folder / file) for file in (UNET, VAE, SCHEDULE))
    _check_text_to_image(folder, unet, vae)
    name = folder.parents[1].name if folder.parent.name == "snapshots" else folder.resolve().name
    body = {
        "format": FORMAT,
        "name": name.removeprefix("models--").replace("--", "/"),
        "task": "text -> image",
        "kind": "prior",
        "network": {"name": "diffusers"},
        "path": _path(folder, schedule),
        "prediction": _prediction(folder, schedule),
        "preprocess": {"size": _size(folder, unet, vae), "fit": "crop"},
        "defaults": DEFAULTS,
        "keep_sampler": True,  # strong guidance, with which the choices of `auto` were not measured
        "concat_source": False,
        "text_conditional": True,
        "clip": False,  # latents have no bounds
        "licence": "see its own model card",
    }
    return parse_card(body, where=str(folder), hint=AGAIN)


def _check_text_to_image(folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Raise if the U-Net takes more than latents; its number of channels tells which kind it is."""
    channels, latents = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if channels == latents:
        return
    if channels == 8 and latents == 4:
        what, use = "an InstructPix2Pix model", "StableDiffusionInstructPix2PixPipeline"
    elif channels == 9 and latents == 4:
        what, use = "an inpainting model", "StableDiffusionInpaintPipeline"
    else:
        what, use = "another kind of model", "its own pipeline"
    raise ModelError(
        f"{folder}: {what}: its U-Net takes {channels!r:.20} channels, a text-to-image prior {latents!r:.20}",
        hint=f"use it with diffusers' {use}; here, use a text-to-image model",
    )


def _size(folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
    """Return the side of the images that the U-Net was trained on, in pixels."""
    latent, blocks = unet.get("sample_size"), vae.get("block_out_channels")
    if type(latent) is not int or not isinstance(blocks, list) or not 1 <= len(blocks) <= 16 or latent < 1:
        raise ModelError(f"{folder}: unet/config.json or vae/config.json states no size", hint=AGAIN)
    return int(latent * 2 ** (len(blocks) - 1))


def _path(folder: Path, schedule: Mapping[str, Any]) -> dict[str, Any]:
    name = schedule.get("beta_schedule", "linear")
    special = schedule.get("trained_betas") or schedule.get("rescale_betas_zero_snr")
    if not isinstance(name, str) or name not in SCHEDULES or special:
        raise ModelError(
            f"{folder}: unknown noise schedule {name!r:.40}", hint=f"known schedules: {', '.join(SCHEDULES)}"
        )
    return {
        "name": "ddpm",
        "schedule": SCHEDULES[name],
        "first": schedule.get("beta_start", 0.0001),
        "last": schedule.get("beta_end", 0.02),
        "intervals": schedule.get("num_train_timesteps", 1000),
    }


def _prediction(folder: Path, schedule: Mapping[str, Any]) -> dict[str, Any]:
    meaning = schedule.get("prediction_type", "epsilon")
    if not isinstance(meaning, str) or meaning not in MEANINGS:
        raise ModelError(
            f"{folder}: unknown prediction type {meaning!r:.40}", hint=f"known types: {', '.join(MEANINGS)}"
        )
    steps = schedule.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 2 <= steps <= 2**20:
        raise ModelError(f"{folder}: num_train_timesteps is {steps!r:.40}", hint=AGAIN)
    return {"name": MEANINGS[meaning], "time_scale": float(steps), "time_shift": 1.0}


def pipeline_digest(folder: Path) -> str:
    """Return one digest of all weights."""
    each = [sha256_of_file(file) for file in sorted(folder.glob("*/*.safetensors"))]
    return sha256("".join(each).encode())
