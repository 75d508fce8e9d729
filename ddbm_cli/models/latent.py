"""Stable Diffusion as one of our priors: its schedule is a path, its network a denoiser, its pictures are encoded.

So all samplers serve it, SDEdit's strength means the same noise level as on other priors, and NFE are counted alike.
"""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.denoisers import PREDICTIONS, Denoiser
from ddbm_cli.foundation.devices import choose_device, choose_dtype
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.networks.latent import LatentNetwork, load_latent
from ddbm_cli.paths import PATHS
from ddbm_cli.samplers import Evaluation, Noise, Plan

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}
MEANINGS = {"epsilon": "noise", "v_prediction": "v", "sample": "x0"}

DEFAULTS = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "uniform", "gap": 1e-3},
    "start": {"name": "prior"},
    "steps": 50,
}


class LatentModel(TranslationModel):
    """A prior whose states are latents: pictures are encoded before, and decoded after."""

    def __init__(self, card: ModelCard, denoiser: Denoiser, network: LatentNetwork, *, digest: str) -> None:
        super().__init__(card, denoiser, digest=digest)
        self._network = network

    def translate(
        self, source: Tensor, noise: Noise, plan: Plan, *, mask: Tensor | None = None
    ) -> Generator[Evaluation, None, Tensor]:
        """As `TranslationModel.translate`: pictures in and out; a latent may change where any pixel may."""
        latents = self._network.encode(source.to(self.device))
        coarse = None if mask is None else F.adaptive_max_pool2d(mask, latents.shape[-2:])
        result = yield from super().translate(latents, noise, plan, mask=coarse)
        pictures = self._network.decode(result.to(self.device)).cpu()
        return pictures if mask is None else torch.where(mask > 0, pictures, source)


def load_pipeline(
    folder: Path, *, device: str = "auto", dtype: str = "auto", prompt: str = "", guidance_scale: float = 7.5
) -> LatentModel:
    """Load Stable Diffusion's parts from a folder in diffusers' layout.

    Args:
        folder: with unet/, vae/, text_encoder/, tokenizer/ and scheduler/.
        device, dtype: as of `load_model`.
        prompt: what the pictures show, "" to say nothing. guidance_scale: how much that is exaggerated; 1 for not.

    Raises:
        ModelError: it is none, or diffusers is not installed.
        UsageError: no such device or dtype.
    """
    where = choose_device(device)
    network = load_latent(folder, where, choose_dtype(dtype, where))
    network.tell(prompt, scale=guidance_scale if prompt else 1.0)
    card = _card(folder, network)
    denoiser = Denoiser(
        network,
        build(PATHS, card.path, what="path"),
        build(PREDICTIONS, card.prediction, what="prediction"),
        sees_source=False,
    )
    return LatentModel(card, denoiser, network, digest=_digest(folder))


def _card(folder: Path, network: LatentNetwork) -> ModelCard:
    name = folder.parents[1].name if folder.parent.name == "snapshots" else folder.resolve().name
    return ModelCard(
        name=name.removeprefix("models--").replace("--", "/"),
        task="-> picture of a text",
        kind="prior",
        network={"name": "diffusers"},
        path=_path(folder, network.schedule),
        prediction=_prediction(folder, network.schedule),
        preprocess=Preprocess(size=network.size, fit="crop"),
        defaults=DEFAULTS,  # type: ignore[arg-type]
        concat_source=False,
        text_conditional=True,
        clip=False,  # latents have no bounds
        licence="see its own model card",
    )


def _path(folder: Path, schedule: Mapping[str, Any]) -> dict[str, Any]:
    name = schedule.get("beta_schedule", "linear")
    if name not in SCHEDULES or schedule.get("trained_betas") or schedule.get("rescale_betas_zero_snr"):
        raise ModelError(
            f"{folder}: no schedule that is known here: '{name}'", hint=f"there are: {', '.join(SCHEDULES)}"
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
    if meaning not in MEANINGS:
        raise ModelError(
            f"{folder}: no prediction that is known here: '{meaning}'", hint=f"there are: {', '.join(MEANINGS)}"
        )
    steps = float(schedule.get("num_train_timesteps", 1000))
    return {"name": MEANINGS[meaning], "time_scale": steps, "time_shift": 1.0}


def _digest(folder: Path) -> str:
    """Return one digest of all weights."""
    each = [sha256_of_file(file) for file in sorted(folder.glob("*/*.safetensors"))]
    return sha256("".join(each).encode())
