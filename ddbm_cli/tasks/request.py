"""What to translate and how, as asked, and what it means for a model: its plan, its start, its conditions."""

from collections.abc import Mapping
from typing import Any

import torch

from ddbm_cli.denoisers import NO_LABEL, PLAIN, Guidance
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.guides import Edit
from ddbm_cli.models import TranslationModel, loading
from ddbm_cli.options.check import from_options
from ddbm_cli.options.translate import TranslateRequest as TranslateRequest
from ddbm_cli.registry import read_registry
from ddbm_cli.registry.locate import Locating
from ddbm_cli.samplers import NoisedStart, Plan

TEXT_SCALE = 7.5
"""How much a text is exaggerated where nobody says, as is usual with Stable Diffusion."""

NOISE = "noise"
"""What stands for the source of pictures that have none."""


def request(**given: Any) -> TranslateRequest:
    """Return the request for what is given.

    Raises:
        UsageError: a value is out of its range.
    """
    return from_options(TranslateRequest, given, command="translate")


def check_budget(request: TranslateRequest) -> None:
    """See at once what would be found out only after a large model has been loaded."""
    for option, value, what in (("--nfe", request.nfe, "network evaluations"), ("--steps", request.steps, "steps")):
        if value is not None and value < 1:
            raise UsageError(f"{value} {what} make no picture", hint=f"give {option} 1 or more")
    if request.nfe is not None and request.steps is not None:
        raise UsageError("--steps and --nfe are two ways to say one thing", hint="give one of them")


def check_method(request: TranslateRequest) -> None:
    if (request.method == "ddib") != (request.source_model is not None):
        raise UsageError(
            "--method ddib and --source-model belong together", hint="name the sources' prior, and the targets' with -m"
        )
    Edit(request.guide, request.mask)  # whose faults are told before a large model is loaded
    if request.method == "sdedit":
        return
    given: dict[str, Any] = {"strength": request.strength, "repeats": request.repeats > 1, "guide": request.guide}
    given["mask"] = request.method == "ddib" and request.mask  # a bridge may fill holes
    for option, value in given.items():
        if value not in (None, False):
            raise UsageError(f"--{option} is for --method sdedit", hint="add --method sdedit, or leave it out")


def load(request: TranslateRequest, name: str | None) -> Locating[TranslationModel]:
    """Load a model as a request says, and yield what happens on the way.

    Raises:
        ModelError: it cannot be had.
        UsageError: no such device or dtype; or a text for a model that takes none.
    """
    told = {"prompt": request.prompt, "guidance_scale": text_scale(request)}
    return (yield from loading(name, device=request.device, dtype=request.dtype, fetch=not request.dry_run, **told))


def the_prior(name: str | None) -> str:
    """Return the model that is named, or the built-in prior.

    Raises:
        UsageError: none is named, and none built in.
    """
    priors = [entry.name for entry in read_registry().values() if entry.builtin and entry.facts()["kind"] == "prior"]
    if name is None and not priors:
        raise UsageError("no prior is named", hint="name one with -m; make one with: ddbm train PICTURES --task prior")
    return name or priors[0]


def plan_of(request: TranslateRequest, model: TranslationModel) -> Plan:
    """Return how a request is sampled by a model.

    Raises:
        UsageError: an unknown name, a value out of range, or a method that is not for this model.
    """
    return model.plan(request.sampler, request.grid, request.steps, request.nfe, start=_start(request, model))


def in_words(plan: Plan) -> str:
    """Return a plan as people read it; of SDEdit's strength, which noise level it is."""
    start = plan.start
    level = (
        f", strength {start.strength:g} = sigma {start.sigma(plan.path):.3g}" if isinstance(start, NoisedStart) else ""
    )
    return f"{spell(plan.sampler)}, grid {spell(plan.grid)}, {plan.steps} steps = {plan.nfe} NFE{level}"


def _start(request: TranslateRequest, model: TranslationModel) -> Mapping[str, Any] | None:
    """Return how to leave the source, None for the model's own way; see that model and method fit."""
    if request.method == "sdedit":
        if not model.is_prior:
            raise UsageError(f"model '{model.name}' is a bridge, and SDEdit needs a prior", hint="name a prior with -m")
        if not model.denoiser.path.source_free:
            raise UsageError(
                f"model '{model.name}' is a bridge from noise, and SDEdit needs a path without a source",
                hint="name a prior on ve, vp or cosine with -m",
            )
        strength = {} if request.strength is None else {"strength": request.strength}
        return {"name": "noised", "repeats": request.repeats, **strength}
    if model.is_prior:
        raise UsageError(
            f"model '{model.name}' is a prior: it makes pictures from noise, and knows no source",
            hint="use it with --method sdedit --strength 0.6, or make pictures: ddbm sample",
        )
    if model.card.inpainting and request.mask is None:
        raise UsageError(f"model '{model.name}' fills holes", hint="say where: --mask FILE, white in the hole")
    if request.mask and not model.card.inpainting:
        raise UsageError(f"model '{model.name}' fills no holes", hint="leave out --mask, or add --method sdedit")
    return None


def text_scale(request: TranslateRequest) -> float:
    """Return how much a text is exaggerated."""
    return TEXT_SCALE if request.guidance_scale is None else request.guidance_scale


def class_of(request: TranslateRequest, model: TranslationModel) -> int | None:
    """Return the number of the class that is named, None for none.

    Raises:
        UsageError: there is no such class; or none is named, and the model never did without.
    """
    if request.class_name is not None:
        return model.label_of(request.class_name)
    if model.classes and not model.card.condition_dropout and request.source != NOISE:
        names = ", ".join(model.card.class_names) or f"0 to {model.classes - 1}"
        raise UsageError(
            f"model '{model.name}' wants to be told a class: {names}", hint=f"add --class {model.class_of(0)}"
        )
    return None


def told(request: TranslateRequest, model: TranslationModel) -> TranslationModel:
    """Return the model, told one class for all pictures of any batch, and the scales.

    Raises:
        UsageError: as `class_of` and `guidance_of`.
    """
    label = class_of(request, model)
    every = None if not model.classes else torch.tensor([NO_LABEL if label is None else label])
    return model.told(every, guidance_of(request, model))


def guidance_of(request: TranslateRequest, model: TranslationModel) -> Guidance:
    """Return the scales of a model's conditions.

    Raises:
        UsageError: the model has not the condition, or never learned to do without.
    """
    if request.prompt:
        return PLAIN
    label = 1.0 if request.guidance_scale is None else request.guidance_scale
    image = request.image_guidance_scale
    asked = {"--guidance-scale": (label, model.classes, "a class, nor a text")}
    asked["--image-guidance-scale"] = (image, model.denoiser.sees_source, "a source")
    for option, (scale, there, what) in asked.items():
        if scale == 1:
            continue
        if not there:
            raise UsageError(f"{option} {scale:g}: model '{model.name}' is not told {what}", hint="leave it out")
        if not model.card.condition_dropout:
            raise UsageError(
                f"{option} {scale:g}: model '{model.name}' was never trained without its conditions",
                hint="leave it out; or train one with: ddbm train DATA --drop 0.05",
            )
    if not request.class_name and label != 1 and request.source != NOISE:
        raise UsageError(f"--guidance-scale {label:g} of no class", hint="name one with --class")
    return Guidance(image=image, label=label)
