"""Codecs of existing files, for new models: an autoencoder of ours, that of another model, or one of diffusers."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from ddbm_cli.codecs import CODECS, Codec, DiffusersConfig
from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.hashing import sha256_of_parts
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.assemble import CODEC_PREFIX, assemble_codec, divided
from ddbm_cli.models.card import AGAIN, Setting
from ddbm_cli.models.checkpoint import open_tensors
from ddbm_cli.models.layout import read_json
from ddbm_cli.models.load import open_model
from ddbm_cli.models.resolve import locate
from ddbm_cli.options.coding import CODER

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


def load_codec(reference: str) -> tuple[Setting, Codec]:
    """Return the setting of a codec, as a card states it, and the codec with its weights, float32 on the CPU.

    Args:
        reference: a model, as after -m; or a folder of diffusers with an autoencoder, or with vae/.

    Raises:
        ModelError: it is not available, or damaged.
        UsageError: it has no codec.
    """
    folder = _folder_of_diffusers(Path(reference))
    if folder is not None:
        return _of_diffusers(folder)
    file = locate(reference)
    with open_model(file) as (card, tensors):
        network, of_codec = divided({name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118
    if card.network.get("name") == CODER:
        setting, own = dict(card.network), network
    elif of_codec:
        setting, own = card.codec, {name.removeprefix(CODEC_PREFIX): value for name, value in of_codec.items()}
    else:
        raise UsageError(
            f"--codec {reference}: a model of pixels, which has no autoencoder",
            hint="train one: ddbm train IMAGES --task autoencoder",
        )
    codec = assemble_codec(replace(card, codec=setting))
    return setting, _filled(codec, own, reference)


def digest_of_codec(codec: Codec) -> str:
    """Return one digest of all weights."""
    state = codec.state_dict()
    return sha256_of_parts(
        part for name, value in state.items() for part in (name.encode(), value.cpu().numpy().tobytes())
    )


def _filled(codec: Codec, weights: dict[str, torch.Tensor], where: str) -> Codec:
    try:
        codec.load_state_dict({name: value.float() for name, value in weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"{where}: its weights do not fit its settings ({reason})", hint=AGAIN) from None
    return codec.eval().requires_grad_(False)


def _folder_of_diffusers(path: Path) -> Path | None:
    """Return the folder with an autoencoder of diffusers, which may be vae/ below the given one."""
    with suppress(OSError, ValueError):  # no name of a file
        for folder in (path, path / "vae"):
            if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
                return folder
    return None


def _of_diffusers(folder: Path) -> tuple[Setting, Codec]:
    body = read_json(folder / CONFIG)
    kind = body.get("_class_name")
    config = {name: value for name, value in body.items() if not name.startswith("_")}
    setting = {"name": DiffusersConfig.name, "kind": kind, "config": config}
    try:
        made = build(CODECS, setting, what="codec")
        with torch.device("meta"):
            wanted = made.create().state_dict()
    except UsageError as error:
        raise ModelError(f"{folder / CONFIG}: {error.message}", hint=error.hint or AGAIN) from None
    with open_tensors(folder / WEIGHTS) as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
        if {f"vae.{name}": shape for name, shape in shapes.items()} != {n: tuple(v.shape) for n, v in wanted.items()}:
            raise ModelError(f"{folder}: its weights do not fit its {CONFIG}", hint=AGAIN)
        weights = {f"vae.{name}": file.get_tensor(name) for name in shapes}
    return setting, _filled(made.create(), weights, str(folder))
