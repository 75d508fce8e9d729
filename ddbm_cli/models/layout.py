"""Models as folders in diffusers' layout, and back.

    FOLDER/unet/config.json, diffusion_pytorch_model.safetensors     the network
    FOLDER/vae/config.json, diffusion_pytorch_model.safetensors      the codec, of a model of latents
    FOLDER/scheduler/scheduler_config.json                           path, prediction, defaults of sampling
    FOLDER/ddbm.json                                                 our card, by which the folder is read again
    FOLDER/README.md                                                 the card for people

A codec of diffusers is written as diffusers has it.
ADM's network is diffusers' UNet2DModel under other names, if it has no patches and 32 groups in every normalisation;
then diffusers loads the network. Any other is written under our own names, and only this program reads the folder.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import torch
from torch import Tensor

from ddbm_cli.codecs import DiffusersConfig
from ddbm_cli.foundation import documents
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.foundation.settings import build
from ddbm_cli.foundation.text import one_line
from ddbm_cli.models.assemble import CODEC_PREFIX, divided, is_too_deep
from ddbm_cli.models.card import AGAIN, ModelCard, describe_card, parse_card
from ddbm_cli.models.checkpoint import open_tensors, write_tensors
from ddbm_cli.networks import NETWORKS, ADMConfig

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
CONFIG = "unet/config.json"
CODEC_WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
CODEC_CONFIG = "vae/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
CARD = "ddbm.json"
README = "README.md"
GROUPS = 32

LARGEST_JSON = 2**22
"""Bytes of the largest JSON file that is read."""

LAYERS = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""Of a residual block: our names and theirs."""

PARTS = ("to_q", "to_k", "to_v")


def write_folder(
    folder: Path, card: ModelCard, weights: Mapping[str, Tensor], *, dtype: torch.dtype | None = None, readme: str = ""
) -> bool:
    """Write a model as a folder; return whether diffusers loads its network.

    All files are first written next to the folder, and then moved into it one by one: other files in it stay, and an
    interrupted export leaves the folder unchanged.

    readme: the card for people.
    """
    config = build(NETWORKS, card.network, what="network")
    weights, of_codec = divided(weights)
    of_codec = {name.removeprefix(_codec_prefix(card)): value for name, value in of_codec.items()}
    theirs = isinstance(config, ADMConfig) and is_theirs(config)
    if theirs:
        assert isinstance(config, ADMConfig)
        weights, settings = (
            to_theirs(config, weights),
            their_config(config, max(card.preprocess.width, card.preprocess.height)),
        )
    else:
        settings = {"_class_name": f"ddbm_cli.networks.{card.network['name']}", **card.network}
    body = describe_card(card)
    scheduler = {"_class_name": "ddbm", **{name: body[name] for name in ("path", "prediction", "defaults")}}
    settings_of = {CONFIG: settings, SCHEDULER: scheduler, CARD: body}
    if of_codec:
        settings_of[CODEC_CONFIG] = _codec_config(card)
    texts = {name: json.dumps(each, indent=2, sort_keys=True) + "\n" for name, each in settings_of.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp") as temporary:
        fresh = Path(temporary)
        write_tensors(fresh / WEIGHTS, weights, {"format": "pt"}, dtype=dtype)
        if of_codec:
            write_tensors(fresh / CODEC_WEIGHTS, of_codec, {"format": "pt"}, dtype=dtype)
        for name, text in (texts | {README: readme}).items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_text(text, encoding="utf-8")
        for name in (WEIGHTS, *([CODEC_WEIGHTS] if of_codec else []), *texts, README):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).replace(folder / name)
    return theirs


def is_folder(path: Path) -> bool:
    """Return whether a folder holds a model in this layout."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def read_folder(folder: Path) -> tuple[ModelCard | None, dict[str, Tensor]]:
    """Return the card, None if the folder has none of ours, and the weights under our names.

    Raises:
        ModelError: a file is missing or damaged, or the network is unknown.
    """
    card = None
    if (folder / CARD).is_file():
        card = parse_card(read_json(folder / CARD), where=f"{folder / CARD}: model card", hint=AGAIN)
    weights = _tensors_of(folder / WEIGHTS)
    settings = read_json(folder / CONFIG)
    if settings.get("_class_name") == "UNet2DModel":
        weights = to_ours(_our_config(settings, folder), weights, str(folder))
    if card is not None and (folder / CODEC_WEIGHTS).is_file():
        prefix = _codec_prefix(card)
        weights |= {f"{prefix}{name}": value for name, value in _tensors_of(folder / CODEC_WEIGHTS).items()}
    return card, weights


def weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights of a folder."""
    return [folder / WEIGHTS, *(path for path in [folder / CODEC_WEIGHTS] if path.is_file())]


def _tensors_of(path: Path) -> dict[str, Tensor]:
    with open_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def _codec_prefix(card: ModelCard) -> str:
    """Return what begins the names of the codec's weights in a model file, but not in the folder."""
    return f"{CODEC_PREFIX}vae." if card.codec.get("name") == DiffusersConfig.name else CODEC_PREFIX


def _codec_config(card: ModelCard) -> dict[str, Any]:
    own = {name: value for name, value in card.codec.items() if name != "name"}
    if card.codec.get("name") == DiffusersConfig.name:
        return {**own["config"], "_class_name": own["kind"]}
    return {"_class_name": f"ddbm_cli.codecs.{card.codec['name']}", **own}


def is_theirs(config: ADMConfig) -> bool:
    """Return whether UNet2DModel is the same network."""
    widths = [config.channels * multiplier for multiplier in config.multipliers]
    attending = [width for level, width in enumerate(widths) if 2**level in config.attention] + widths[-1:]
    same_heads = all(width % config.head_channels == 0 for width in attending)  # else theirs are narrower in all
    same_groups = all(width % GROUPS == 0 for width in widths)
    return config.patch == 1 and config.multipliers[0] == 1 and same_groups and same_heads


def their_config(config: ADMConfig, size: int) -> dict[str, Any]:
    """Return the settings of UNet2DModel that make this network."""
    attends = [2**level in config.attention for level in range(len(config.multipliers))]
    return {
        "_class_name": "UNet2DModel",
        "sample_size": size,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "block_out_channels": [config.channels * multiplier for multiplier in config.multipliers],
        "layers_per_block": config.blocks,
        "down_block_types": ["AttnDownBlock2D" if each else "ResnetDownsampleBlock2D" for each in attends],
        "up_block_types": ["AttnUpBlock2D" if each else "ResnetUpsampleBlock2D" for each in reversed(attends)],
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
        "attention_head_dim": config.head_channels,
        "norm_num_groups": GROUPS,
        "attn_norm_num_groups": GROUPS,
        "norm_eps": 1e-5,
        "dropout": config.dropout,
        "num_class_embeds": config.classes,
    }


def to_theirs(config: ADMConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of UNet2DModel."""
    made: dict[str, Tensor] = {}
    for ours, theirs in names(config, weights):
        if isinstance(theirs, str):
            made[theirs] = (
                weights[ours].flatten(1) if ".to_out." in theirs and ours.endswith("weight") else weights[ours]
            )
        else:
            thirds = weights[ours].chunk(3)
            made |= {
                each: part.flatten(1) if part.ndim > 1 else part for each, part in zip(theirs, thirds, strict=True)
            }
    return made


def to_ours(config: ADMConfig, weights: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    """Return weights of UNet2DModel under our names.

    Raises:
        ModelError: some are missing.
    """
    with torch.device("meta"):
        wanted = config.create().state_dict()
    made: dict[str, Tensor] = {}
    try:
        for ours, theirs in names(config, wanted):
            value = weights[theirs] if isinstance(theirs, str) else torch.cat([weights[each] for each in theirs])
            made[ours] = value.reshape(wanted[ours].shape)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{file}: its weights do not fit its config ({one_line(error)[:200]})", hint=AGAIN) from None
    return made


def _as_matrix(value: Tensor) -> Tensor:
    return value.flatten(1) if value.ndim > 1 else value


def names(config: ADMConfig, weights: Mapping[str, Any]) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Yield our names of parameters with theirs; of queries, keys and values in one, three."""
    places = dict(_places(config))
    for name in weights:
        place = max((each for each in places if name.startswith(f"{each}.")), key=len)
        layer, _, kind = name.removeprefix(f"{place}.").rpartition(".")
        theirs = places[place]
        if layer == "qkv":
            yield name, tuple(f"{theirs}.{part}.{kind}" for part in PARTS)
        elif layer:
            fixed = {"norm": "group_norm", "proj_out": "to_out.0"}
            yield name, f"{theirs}.{fixed[layer] if '.attentions.' in theirs else LAYERS[layer]}.{kind}"
        else:
            yield name, f"{theirs}.{kind}"


def _places(config: ADMConfig) -> Iterator[tuple[str, str]]:
    """Yield our places of layers with theirs, as the network is built."""
    yield from (("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"))
    yield from (("label_emb", "class_embedding"), ("out.0", "conv_norm_out"), ("out.2", "conv_out"))
    yield "input_blocks.0.0", "conv_in"
    levels, index = len(config.multipliers), 1
    for level in range(levels):
        for block in range(config.blocks):
            yield f"input_blocks.{index}.0", f"down_blocks.{level}.resnets.{block}"
            yield f"input_blocks.{index}.1", f"down_blocks.{level}.attentions.{block}"
            index += 1
        if level < levels - 1:
            yield f"input_blocks.{index}.0", f"down_blocks.{level}.downsamplers.0"
            index += 1
    yield from (("middle_block.0", "mid_block.resnets.0"), ("middle_block.2", "mid_block.resnets.1"))
    yield "middle_block.1", "mid_block.attentions.0"
    for level in range(levels):
        attends = 2 ** (levels - 1 - level) in config.attention
        for block in range(config.blocks + 1):
            index = level * (config.blocks + 1) + block
            yield f"output_blocks.{index}.0", f"up_blocks.{level}.resnets.{block}"
            if attends:
                yield f"output_blocks.{index}.1", f"up_blocks.{level}.attentions.{block}"
            if block == config.blocks and level < levels - 1:
                yield f"output_blocks.{index}.{1 + attends}", f"up_blocks.{level}.upsamplers.0"


def _our_config(settings: Mapping[str, Any], folder: Path) -> ADMConfig:
    """Return our settings of a UNet2DModel, if it is this network."""
    try:
        widths = list(settings["block_out_channels"])
        kinds = settings["down_block_types"]
        config = ADMConfig(
            in_channels=settings["in_channels"],
            out_channels=settings["out_channels"],
            channels=widths[0],
            multipliers=tuple(width // widths[0] for width in widths),
            blocks=settings["layers_per_block"],
            attention=tuple(2**level for level, kind in enumerate(kinds) if kind == "AttnDownBlock2D"),
            head_channels=settings["attention_head_dim"],
            dropout=settings.get("dropout", 0.0),
            classes=settings.get("num_class_embeds"),
        )
        if is_too_deep(config):
            raise ModelError(f"{folder / CONFIG}: {config.blocks} blocks on each level are too many", hint=AGAIN)
        size = settings.get("sample_size") or 64
        wanted = their_config(config, size if isinstance(size, int) else size[0])
        odd = [name for name in wanted if settings.get(name, wanted[name]) != wanted[name] and name != "sample_size"]
    except (KeyError, TypeError, IndexError, ZeroDivisionError, pydantic.ValidationError) as error:
        raise ModelError(f"{folder / CONFIG}: not readable ({one_line(error)[:200]})", hint=AGAIN) from None
    if odd or not is_theirs(config):
        what = f"{odd[0]} is {settings[odd[0]]}, not {wanted[odd[0]]}" if odd else "not 32 groups"
        raise ModelError(f"{folder / CONFIG}: not an ADM network ({what})", hint="only ADM networks can be imported")
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file that holds an object.

    Raises:
        ModelError: it is missing, too large, or something else.
    """
    body = documents.read_json(path, hint=AGAIN, error=ModelError, limit=LARGEST_JSON)
    if not isinstance(body, dict):
        raise ModelError(f"{path}: not a JSON object", hint=AGAIN)
    return body
