"""The request of a training: options, which override a file of settings, which overrides the run that is resumed."""

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ddbm_cli
from ddbm_cli.denoisers import PREDICTIONS
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.fields import sides_of
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.imaging.preparing import Expects
from ddbm_cli.models import ModelCard, locate
from ddbm_cli.models.features import absolute
from ddbm_cli.models.load import checked_card
from ddbm_cli.models.pipeline import as_bridge
from ddbm_cli.networks import NETWORKS, DiffusersNetworkConfig
from ddbm_cli.objectives import METHODS, OBJECTIVES, TIME_DISTRIBUTIONS, Adversarial
from ddbm_cli.options.check import from_options
from ddbm_cli.options.checkpoints import divided
from ddbm_cli.options.coding import CODER
from ddbm_cli.options.expects import LineArt, Photograph
from ddbm_cli.options.lora import check_lora
from ddbm_cli.options.recipe import Compute, Recipe
from ddbm_cli.options.train import Sampling, TrainRequest
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.registry.pipelines import PREFIX, is_pipeline, is_pipeline_folder
from ddbm_cli.tasks.train.rounds import SCHRODINGER, check_given, check_paired, in_rounds
from ddbm_cli.tasks.train.stored import CONFIG, IMAGES, LATEST, newest, read_settings, read_stored, with_task
from ddbm_cli.training.first_couplings import COUPLINGS

SETTINGS: dict[str, Mapping[str, type]] = {
    "network": NETWORKS,
    "path": PATHS,
    "prediction": PREDICTIONS,
    "times": TIME_DISTRIBUTIONS,
    "objective": OBJECTIVES,
    "method": METHODS,
    "coupling": COUPLINGS,
}
"""Fields of a request that are settings in their shell form, and the registries that build them."""


PRIOR = {"path": "ve", "times": "log-normal:mean=-0.8,std=1.4", "augment": ["flip"]}
"""Defaults of a prior where they differ from those of `TrainRequest`."""

PIX2PIX = {
    "path": "rectified",
    "prediction": "x0",
    "times": "uniform",
    "recipe": {"learning_rate": 2e-4, "beta1": 0.5, "weight_decay": 0.0, "ema": 0.0, "clip_norm": 1e9},
}
"""Defaults of pix2pix where they differ from those of `TrainRequest`: the paper's settings."""

INSTRUCT = {"text": "captions", "translates": "image, instruction -> image", "augment": []}
"""Defaults of edits by instruction where they differ from `TrainRequest`.

Flips would exchange left and right, and shifts move the axis of mirroring, which no instruction names.
"""

AUTOENCODER = {
    "network": CODER,
    "objective": "reconstruction",
    "path": "rectified",
    "prediction": "x0",
    "times": "uniform",
    "translates": "image -> image",
    "augment": ["flip"],
}
"""Defaults of an autoencoder where they differ from those of `TrainRequest`."""


DISTILLATION = {
    "times": "uniform",
    "recipe": {"steps": 2000, "batch_size": 96, "learning_rate": 3e-5, "beta1": 0.0, "warmup": 0, "ema": 0.99},
}
"""Defaults of a distillation where they differ from those of `TrainRequest`."""
FORMERLY: dict[str, Any] = {"fit": "pad"}
"""Settings of runs that are older than these settings, where they differ from the defaults."""

DROP = 0.05
"""InstructPix2Pix's fraction (arXiv:2211.09800)."""

PRIOR_TEXT = "-> image"

PRESETS = Path(ddbm_cli.__file__).parent / "presets"


def request(
    given: Mapping[str, Any], *, config: Path | None = None, resume: Path | None = None, preset: str | None = None
) -> TrainRequest:
    """Resolve a request: what is given wins over the config file, which wins over a preset or the run that is resumed.

    Raises:
        UsageError: a file is missing or not readable, or a value is unknown or out of range.
    """
    body = read_settings(PRESETS / f"{preset}.toml") if preset is not None else {}
    if preset is not None and resume is not None:
        raise UsageError("--preset and --resume are mutually exclusive", hint="leave out --preset")
    if resume is not None:
        if resume == Path(LATEST) and not resume.exists():
            resume = newest(Path())
        resume, from_step = divided(resume)
        body = read_stored(resume)
        from_stored(body, resume)
        body.pop(IMAGES, None)
        body = FORMERLY | body
        given = {**given, "output": resume, "resume": resume, "from_step": from_step}
    if config is not None:
        body = _merge(body, _known(read_settings(config), config))
    check_given(given)
    body = _merge(body, given)
    if body.get("data"):
        body["data"] = _absolute(body["data"])
    return from_options(TrainRequest, _completed(body, begins=resume is None), command="train")


def from_stored(body: Mapping[str, Any], run: Path) -> TrainRequest:
    """Return the request that a run's config.json holds; settings that are newer than it have their defaults.

    Raises:
        UsageError: it is damaged.
    """
    try:
        own = FORMERLY | {name: value for name, value in body.items() if name != IMAGES}
        stored = from_options(TrainRequest, _completed(own, begins=False), command="train")
        for name, kinds in SETTINGS.items():
            build(kinds, getattr(stored, name), what=name)
        return stored
    except UsageError as error:
        raise UsageError(f"{run / CONFIG}: {error.message}", hint="restore the file from a backup") from None


def _completed(body: dict[str, Any], *, begins: bool) -> dict[str, Any]:
    """Fill in the defaults that depend on other settings."""
    given = body = with_task(body)
    if body.get("task") == "prior":
        if body.get("source"):
            raise UsageError("a prior has no sources", hint="leave out --source, or --task prior")
        if body.get("start_from") and begins:
            given = body = _begun(body)
        body = {**PRIOR, "translates": PRIOR_TEXT, **body}
        if "times" not in given and _path(body).noise_free:
            body["times"] = "uniform"  # without noise there are no noise levels to choose from
    if body.get("task") == "autoencoder":
        if body.get("source"):
            raise UsageError("an autoencoder has no sources", hint="leave out --source, or --task autoencoder")
        body = {**AUTOENCODER, **body}
    if str(body.get("objective", "")).startswith(Adversarial.name):
        body = _merge({"network": f"pix2pix:depth={_halvings(body.get('size', 64))}", **PIX2PIX}, body)
        body["objective"] = _critic(str(body["objective"]), body.get("size", 64))
    if body.get("task") == "schrodinger":
        body = in_rounds(_merge(SCHRODINGER, body))
    else:
        check_paired(body)
    if body.get("task") == "distill":
        body = _distilling(body, begins=begins)
    elif body.get("teacher"):
        raise UsageError("--teacher is an option of --task distill", hint="add --task distill, or leave out --teacher")
    elif body.get("noise_channels") or body.get("adversarial"):
        name = "--noise-channels" if body.get("noise_channels") else "--adversarial"
        raise UsageError(f"{name} is an option of --task distill", hint=f"add --task distill, or leave out {name}")
    if body.get("task") == "instruct":
        body = {**INSTRUCT, **body}
    if body.get("classes") or body.get("text"):
        body = {"drop": DROP} | body
    check_lora(body, begins=begins)
    if body.get("start_from") and begins:
        body = _begun(body)
    if body.get("text_encoder"):
        if not body.get("text"):
            raise UsageError("--text-encoder needs texts", hint="add --text captions")
        body = {**body, "text_encoder": absolute(str(body["text_encoder"]))}
    if body.get("codec"):
        body = _with_codec(body)
    if not body.get("data"):
        raise UsageError("nothing to train on", hint="pass a folder of pairs: ddbm train DATA")
    if body.get("prediction") is None:
        path = _path(body)
        # Without noise the signal-to-noise ratio is infinite at all times, and would be a constant time embedding.
        body = {**body, "prediction": f"preconditioned:c_noise={'log-time' if path.noise_free else 'log-snr'}"}
    return body


def _with_codec(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request whose codec is found from any folder."""
    for name in ("objective", "network"):
        if str(body.get(name, "")).startswith((Adversarial.name, "reconstruction", CODER)):
            raise UsageError(f"{name} '{body[name]}' is for pixels, not for latents", hint="leave out --codec")
    file = Path(str(body["codec"]))
    with suppress(OSError, ValueError):  # no name of a file
        return {**body, "codec": str(file.absolute())} if file.exists() else body
    return body


def _distilling(body: dict[str, Any], *, begins: bool) -> dict[str, Any]:
    """Return the settings of a distillation; the student begins with the weights of the teacher.

    Raises:
        UsageError: there is no teacher, or an autoencoder that may be another than the teacher's.
    """
    if not body.get("teacher"):
        raise UsageError("--task distill needs a model to distill", hint="pass --teacher NAME, such as a run's folder")
    if body.get("codec") and begins:
        raise UsageError("a student has the autoencoder of its teacher", hint="leave out --codec")
    body = _merge(DISTILLATION, body)
    return {**body, "start_from": body.get("start_from") or body["teacher"]}


def _path(body: Mapping[str, Any]) -> ProbabilityPath:
    return build(PATHS, str(body.get("path", TrainRequest.path)), what="path")


def _halvings(size: Any) -> int:
    """Return how deep pix2pix's generator can be for a size, 8 at most as in the paper."""
    sides = _sides(size)
    if not sides or min(sides) < 1:
        return 8  # what is wrong with the size is said when the request is checked
    return min(*((side & -side).bit_length() - 1 for side in sides), 8)


def _sides(size: Any) -> list[int]:
    """Return width and height of a size, [] where it is none."""
    size = sides_of(size)
    sides = [size, size] if isinstance(size, int) else list(size) if isinstance(size, tuple) else []
    return sides if all(isinstance(side, int) for side in sides) else []


def _critic(objective: str, size: Any) -> str:
    """Return pix2pix's objective with a critic that fits the size: 3 layers, fewer below 32 pixels.

    Raises:
        UsageError: the number of layers is given, and is too large.
    """
    side = min(_sides(size), default=0)
    if side < 8:
        return objective
    most = max(1, min(int(math.log2(side / 3)), 6))
    if "layers" not in objective:
        return f"{objective}{',' if ':' in objective else ':'}layers={min(3, most)}"
    given = build(OBJECTIVES, objective, what="objective")
    if isinstance(given, Adversarial) and given.layers > most:
        raise UsageError(
            f"a critic of {given.layers} layers does not fit images of {side} pixels",
            hint=f"use --objective pix2pix:layers={most}, or a larger --size",
        )
    return objective


def _absolute(data: Any) -> list[Any]:
    paths = [data] if isinstance(data, str | Path) else list(data) if isinstance(data, list | tuple) else [data]
    return [str(Path(path).absolute()) if isinstance(path, str | Path) else path for path in paths]


def _known(body: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the settings of a file.

    Raises:
        UsageError: one is unknown, or is in the wrong table.
    """
    tables: dict[str, type] = {"recipe": Recipe, "compute": Compute, "sampling": Sampling}
    fields = {table: {field.name for field in dataclasses.fields(kind)} for table, kind in tables.items()}
    top = {field.name for field in dataclasses.fields(TrainRequest)} - {"resume", "from_step"}
    for name in body:
        if name not in top:
            home = next((table for table in fields if name in fields[table]), None)
            hint = f"move it below [{home}]" if home else f"the settings are: {', '.join(sorted(top))}"
            where = f" belongs below [{home}]" if home else " is not a setting of train"
            raise UsageError(f"{file}: '{name}'{where}", hint=hint)
    for table, names in fields.items():
        for name in body.get(table, {}):
            if name not in names:
                hint = "move it above all tables" if name in top else f"its fields: {', '.join(sorted(names))}"
                raise UsageError(f"{file}: [{table}] has no '{name}'", hint=hint)
    return body


FOLLOWING = ("classes", "vocabulary", "text_length", "text_features", "in_channels", "texts")
"""Settings of a network that follow from the data and the task."""


def _begun(body: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that begins with a model: what is given, else what is in the model's card.

    A bridge that begins with a text-to-image model has a path of its own, and a prediction under which it begins with
    the estimates of that model. With the name of that model's path, it has the noise schedule of the model.

    Raises:
        UsageError: images have texts, and the model's network takes none of each image.
    """
    reference = str(body["start_from"])
    file = locate(reference)
    card = checked_card(file)
    network = {name: value for name, value in card.network.items() if name not in FOLLOWING}
    becomes_bridge = body.get("task") != "prior" and is_pipeline_folder(file)
    if becomes_bridge and body.get("path") == card.path["name"]:
        becomes_bridge, body = False, {"times": "uniform", **body, "path": spell(build(PATHS, card.path, what="path"))}
    prediction = as_bridge(card) if becomes_bridge else card.prediction
    found = {
        "network": spell(build(NETWORKS, network, what="network")),
        **({} if becomes_bridge else {"path": spell(build(PATHS, card.path, what="path"))}),
        "prediction": spell(build(PREDICTIONS, prediction, what="prediction")),
        "size": card.preprocess.size,
        "fit": card.preprocess.fit,
        **({"expects": _spelled(card.expects)} if card.expects else {}),
        **({"codec": str(file)} if card.codec["name"] != "pixels" else {}),
        **({"text_encoder": _encoder_of(reference, file, card)} if body.get("text") else {}),
    }
    return found | body


def _encoder_of(reference: str, file: Path, card: ModelCard) -> str | None:
    """Return the frozen text encoder of a model that a run with texts begins with, None for none.

    Raises:
        UsageError: it is a pipeline whose network takes no text of CLIP alone.
    """
    if not is_pipeline_folder(file):
        return card.text_encoder.reference if card.text_encoder else None
    network = build(NETWORKS, card.network, what="network")
    if not card.text_conditional or not isinstance(network, DiffusersNetworkConfig) or network.pooled:
        raise UsageError(
            f"--text: the network of {reference} takes no text of a single encoder",
            hint="leave out --text and --task instruct, or begin with Stable Diffusion 1 or 2",
        )
    name = reference.removeprefix(PREFIX)
    return f"clip:{name if is_pipeline(reference) and not Path(name).expanduser().is_dir() else file}"


def _spelled(expects: Expects) -> str:
    """Return what a model expects as --expects takes it."""
    if expects.kind == "photograph":
        return spell(Photograph())
    return spell(LineArt(line_width=expects.line_width, margin=expects.margin, objects=expects.objects))


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for table in ("recipe", "compute", "sampling"):
        if table in below and table in above:
            merged[table] = {**below[table], **above[table]}
    return merged
