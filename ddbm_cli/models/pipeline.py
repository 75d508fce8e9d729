"""A pipeline in diffusers' layout as a model: card and weights, as those of a model file.

Its schedule is a path, its U-Net or transformer a network, and its autoencoder a codec. A text-to-image pipeline is a
prior with which all samplers work, SDEdit's strength is the same noise level as on other priors, and a training can
start from it. A U-Net with the latents of two images as its input edits the second one (InstructPix2Pix,
arXiv:2211.09800): it samples from noise, and gets the source as a condition.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ddbm_cli.codecs import DiffusersConfig
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.hashing import sha256, sha256_of_file
from ddbm_cli.models.assemble import CODEC_PREFIX
from ddbm_cli.models.card import AGAIN, ModelCard, parse_card
from ddbm_cli.models.checkpoint import open_tensors
from ddbm_cli.models.layout import read_json
from ddbm_cli.models.texts import embed, tokens_of
from ddbm_cli.networks.diffusers import DIT, MODEL, UNET, DiffusersNetworkConfig
from ddbm_cli.registry.card_format import FORMAT

NETWORK_FOLDERS = ("unet", "transformer")
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
SCHEDULE = "scheduler/scheduler_config.json"

SCALING = 0.18215
"""The factor of latents where an autoencoder states none: diffusers' default, that of Stable Diffusion 1."""

VAE = f"{CODEC_PREFIX}vae."
"""Begins the names of the autoencoder's weights in a model file."""

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}
MEANINGS = {"epsilon": "noise", "v_prediction": "v", "sample": "x0"}

DEFAULTS = {
    "sampler": {"name": "implicit", "eta": 0.0},
    "grid": {"name": "uniform", "gap": 1e-3},
    "start": {"name": "prior"},
    "steps": 50,
}

EDITING = {
    "sampler": {"name": "implicit", "eta": 1.0},
    "grid": {"name": "karras", "rho": 1.0, "gap": 0.0},
    "start": {"name": "prior"},
    "steps": 100,
}
"""Those of InstructPix2Pix: 100 steps of Euler-ancestral, equal ones from the last training time to the first."""

TEXT_DROPPED, EACH_DROPPED = 0.1, 0.05
"""Shares of the training steps without text, of Stable Diffusion; and without text, source and both, of
InstructPix2Pix. A pipeline does not state its own."""

NO_TEXT = ("",)


@contextmanager
def open_pipeline(folder: Path, texts: Sequence[str] = NO_TEXT) -> Iterator[tuple[ModelCard, "PipelineTensors"]]:
    """Open a pipeline; yield its card and its tensors under the names of a model file.

    Args:
        folder: in diffusers' layout, with unet/ or transformer/, vae/ and scheduler/, and text encoders.
        texts: what the network is conditioned on: that of no label, and one for each label. They are embedded when
            their tensor is read.

    Raises:
        ModelError: it is no such pipeline, or damaged.
    """
    card = card_of_pipeline(folder, texts=len(texts))
    with ExitStack() as held:
        files = {
            prefix: held.enter_context(open_tensors(_weights(folder / part)))
            for prefix, part in ((MODEL, network_folder(folder)), (VAE, "vae"))
        }
        yield card, PipelineTensors(folder, files, texts, DiffusersNetworkConfig(**_without_name(card.network)))


class PipelineTensors:
    """The tensors of a pipeline, with the interface of a file's.

    Args:
        files: open files by what begins the names of their tensors.
        texts: as of `open_pipeline`. network: its settings.
    """

    def __init__(
        self, folder: Path, files: Mapping[str, Any], texts: Sequence[str], network: DiffusersNetworkConfig
    ) -> None:
        self._folder, self._files, self._texts = folder, files, texts
        context, pooled = (network.rows, network.tokens, network.width), (network.rows, network.pooled)
        self._own = {name: shape for name, shape in (("context", context), ("pooled", pooled)) if all(shape)}

    @cached_property
    def _embedded(self) -> dict[str, Tensor]:
        context, pooled = embed(self._folder, self._texts)
        return {"context": context} | ({} if pooled is None else {"pooled": pooled})

    def keys(self) -> list[str]:
        """Return the names of all tensors."""
        return [*self._own] + [prefix + name for prefix, file in self._files.items() for name in file.keys()]  # noqa: SIM118

    def get_slice(self, name: str) -> Any:
        """Return what has shape and type of a tensor."""
        return _Embedding(self._own[name]) if name in self._own else self._found(name, "get_slice")

    def get_tensor(self, name: str) -> Tensor:
        """Return a tensor.

        Raises:
            ModelError: the text encoders are missing or damaged.
        """
        if name not in self._own:
            tensor: Tensor = self._found(name, "get_tensor")
            return tensor
        found = self._embedded.get(name)
        if found is None or found.shape != self._own[name]:
            raise ModelError(f"{self._folder}: its text encoders do not fit its network", hint=AGAIN)
        return found

    def _found(self, name: str, method: str) -> Any:
        prefix = next(each for each in self._files if name.startswith(each))
        return getattr(self._files[prefix], method)(name.removeprefix(prefix))


class _Embedding:
    """The shape and the type of embeddings that are not computed yet."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = list(shape)

    def get_shape(self) -> list[int]:
        return self._shape

    def get_dtype(self) -> str:
        return "F32"


def network_folder(folder: Path) -> str:
    """Return the name of the folder in a pipeline that holds its network.

    Raises:
        ModelError: there is none.
    """
    for name in NETWORK_FOLDERS:
        if (folder / name).is_dir():
            return name
    raise ModelError(
        f"{folder}: not a text-to-image pipeline: it has no unet/ or transformer/",
        hint="specify a folder with model_index.json, unet/, vae/, text_encoder/, tokenizer/ and scheduler/",
    )


def card_of_pipeline(folder: Path, *, texts: int = 1) -> ModelCard:
    """Return the card of a pipeline, from its settings; its weights are not read.

    texts: number of texts that the network is conditioned on.

    Raises:
        ModelError: it is no text-to-image pipeline, or a file is damaged.
    """
    part = network_folder(folder)
    absent = [each for each in ("vae", "scheduler") if not (folder / each).is_dir()]
    if absent:
        raise ModelError(
            f"{folder}: not a text-to-image pipeline: it has no {', '.join(absent)}",
            hint="specify a folder with model_index.json, unet/, vae/, text_encoder/, tokenizer/ and scheduler/",
        )
    network, vae, schedule = (read_json(folder / file) for file in (f"{part}/{CONFIG}", f"vae/{CONFIG}", SCHEDULE))
    kind = network.get("_class_name", UNET if part == "unet" else None)
    if kind not in (UNET, DIT):
        raise ModelError(
            f"{folder / part}: an unknown architecture, {kind!r:.60}",
            hint=f"use a model whose network is a {UNET} or a {DIT}",
        )
    edits = _edits(folder, network, vae)
    name = folder.parents[1].name if folder.parent.name == "snapshots" else folder.resolve().name
    latents, tokens = vae.get("latent_channels", 4), tokens_of(folder) if kind == UNET else 0
    if kind == UNET and not tokens:
        raise ModelError(
            f"{folder}: not a text-to-image pipeline: it has no text_encoder/", hint="download the folder again"
        )
    body = {
        "format": FORMAT,
        "name": name.removeprefix("models--").replace("--", "/"),
        "task": "image, text -> image" if edits else "text -> image" if tokens else "-> image",
        "kind": "bridge" if edits else "prior",
        "network": {
            "name": DiffusersNetworkConfig.name,
            "kind": kind,
            "config": _plain(network),
            "in_channels": 2 * latents if edits else latents,
            "out_channels": latents,
            "tokens": tokens,
            "texts": texts,
            "pixels": _factor(folder, vae),
            **({"source_scale": 1 / _scaling(folder, vae)} if edits else {}),
        },
        "codec": {"name": DiffusersConfig.name, "kind": vae.get("_class_name", "AutoencoderKL"), "config": _plain(vae)},
        "path": _path(folder, schedule),
        "prediction": _prediction(folder, schedule),
        "preprocess": {"size": _size(folder, network, vae), "fit": "crop"},
        "defaults": EDITING if edits else DEFAULTS,
        "keep_sampler": True,  # strong guidance, with which the choices of `auto` were not measured
        "concat_source": edits,
        "condition_dropout": EACH_DROPPED if edits else TEXT_DROPPED if tokens else 0.0,
        "text_conditional": bool(tokens),
        "clip": False,  # latents have no bounds
        "licence": "see its own model card",
    }
    return parse_card(body, where=str(folder), hint=AGAIN)


def as_bridge(card: ModelCard) -> dict[str, Any]:
    """Return the prediction of a bridge whose network is that of a pipeline with this card, as a setting."""
    process, output = card.path, card.prediction["name"]
    return {"name": "diffusion", "output": output} | {name: value for name, value in process.items() if name != "name"}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a class without those about files and versions."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _without_name(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name != "name"}


def weights_of_pipeline(folder: Path) -> Path:
    """Return the file with the weights of the network."""
    return _weights(folder / network_folder(folder))


def _weights(folder: Path) -> Path:
    """Return the file with the weights of a part, which may be in half precision alone."""
    for name in (WEIGHTS, WEIGHTS.replace(".safetensors", ".fp16.safetensors")):
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder}: has no {WEIGHTS}", hint="download it; weights in pickles or in shards are not read")


def _edits(folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> bool:
    """Return whether the network takes the latents of a source besides those of the state, by its number of channels.

    Raises:
        ModelError: it takes something else.
    """
    channels, latents = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if channels == latents:
        return False
    if channels == 2 * latents and unet.get("_class_name", UNET) == UNET:
        return True
    what, use = "another kind of model", "its own pipeline"
    if channels == 9 and latents == 4:
        what, use = "an inpainting model", "StableDiffusionInpaintPipeline"
    raise ModelError(
        f"{folder}: {what}: its network takes {channels!r:.20} channels, a text-to-image prior {latents!r:.20}",
        hint=f"use it with diffusers' {use}; here, use a text-to-image or InstructPix2Pix model",
    )


def _scaling(folder: Path, vae: Mapping[str, Any]) -> float:
    """Return the factor between the encoder's output and the states. InstructPix2Pix gets the source without it."""
    scale = vae.get("scaling_factor", SCALING)
    if not isinstance(scale, int | float) or not scale > 0 or vae.get("shift_factor"):
        raise ModelError(f"{folder}: unusual latents: vae/config.json states scaling_factor {scale!r:.40}", hint=AGAIN)
    return float(scale)


def _factor(folder: Path, vae: Mapping[str, Any]) -> int:
    """Return the pixels for one position of the latents."""
    blocks = vae.get("block_out_channels")
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= 8:
        raise ModelError(f"{folder}: vae/config.json states no blocks", hint=AGAIN)
    return int(2 ** (len(blocks) - 1))


def _size(folder: Path, network: Mapping[str, Any], vae: Mapping[str, Any]) -> int:
    """Return the side of the images that the network was trained on, in pixels."""
    latent = network.get("sample_size")
    if type(latent) is not int or latent < 1:
        raise ModelError(f"{folder}: its network's config.json states no size", hint=AGAIN)
    return int(latent * _factor(folder, vae))


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
