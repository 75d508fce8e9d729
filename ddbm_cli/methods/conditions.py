"""Class and guidance of a request, resolved for a model."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.denoisers import PERTURBATIONS, PLAIN, Guidance
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.foundation.text import one_line
from ddbm_cli.models import TranslationModel, labels
from ddbm_cli.options.groups import ConditionOptions

TEXT_SCALE = 7.5
"""Guidance scale of a pipeline's text where none is given, the usual value for Stable Diffusion."""

IMAGE_SCALE = 1.5
"""Guidance scale of the source where none is given, for pipelines that edit images (InstructPix2Pix)."""

MOST_WORDS = 8
"""Unknown words that are named."""


def label_of(
    request: ConditionOptions, model: TranslationModel, *, in_turn: bool = False, texts: bool = False
) -> Tensor | None:
    """Return the number of the class that is given, 0-d, or the label of the text; None for none.

    Args:
        in_turn: where no class is given, images get the classes in turn.
        texts: images have texts of their own.

    Raises:
        UsageError: there is no such class, or the text is too long; or none is given, and the model was never trained
            without.
    """
    if request.class_name is not None:
        return torch.tensor(labels.label_of(model.card, request.class_name))
    if model.takes_text:
        if not (request.prompt.strip() or texts or model.card.condition_dropout):
            raise UsageError(f"model '{model.name}' needs a text", hint='add --prompt "TEXT"')
        return labels.text_label(model, request.prompt) if request.prompt else None
    if model.classes and not model.card.condition_dropout and not in_turn:
        names = ", ".join(model.card.class_names) or f"0 to {model.classes - 1}"
        raise UsageError(
            f"model '{model.name}' needs a class, one of: {names}", hint=f"add --class {labels.class_of(model.card, 0)}"
        )
    return None


def check_texts(model: TranslationModel, texts: Iterable[tuple[str, str]]) -> None:
    """Check the texts of single images, and embed those of a pipeline at once.

    Args:
        texts: each with where it is from, in words.

    Raises:
        UsageError: the model takes none, or one is too long.
    """
    found = dict(texts)
    if found and not model.takes_text:
        raise _takes_no_text(model)
    for where, text in found.items():
        try:
            labels.check_text(model, text)
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    if (theirs := labels.pipeline_texts(model)) is not None:
        theirs.add(list(found.values()))


def doubts_of(texts: Iterable[str], model: TranslationModel) -> list[str]:
    """Return what a model hardly knows of texts, in words, or that there are none."""
    texts = list(texts)
    if model.takes_text and not any(text.strip() for text in texts):
        return [f"model '{model.name}' takes a text, and none is given; add --prompt \"TEXT\""]
    vocabulary = model.card.vocabulary
    every = (word for text in texts for word in vocabulary.unknown_words(text)) if vocabulary else ()
    words = list(dict.fromkeys(every))
    named = ", ".join(f"'{one_line(word)}'" for word in words[:MOST_WORDS])
    if vocabulary is None or not words:
        return []
    had = f"; its most frequent words: {', '.join(vocabulary.words)}" if vocabulary.words else ""
    return [f"the training texts of model '{model.name}' did not have: {named}{had}"]


def conditioned(request: ConditionOptions, model: TranslationModel) -> TranslationModel:
    """Return the model with the class and the guidance scales of a request, the same for all images of a batch.

    Raises:
        UsageError: as `label_of` and `guidance_of`.
    """
    label = label_of(request, model)
    label = labels.no_label(model) if label is None else label
    return model.with_conditions(None if label is None else label[None], guidance_of(request, model))


def record_of(
    request: ConditionOptions, model: TranslationModel, guidance: Guidance, *, texts: bool = False
) -> dict[str, Any]:
    """Return what a record holds of the text and of the guidance; texts: as of `label_of`."""
    record: dict[str, Any] = {}
    if request.prompt:
        record |= {"prompt": request.prompt}
    if request.prompt or texts or model.classes or (model.takes_text and labels.pipeline_texts(model) is None):
        record |= {"guidance_scale": guidance.label}
    if guidance.image != 1 or usual(model, texts=texts).image != 1:
        record |= {"image_guidance_scale": guidance.image}
    if guidance.perturbation is not None:
        record |= {"perturbed_guidance": spell(guidance.perturbation)}
    return record


def _takes_no_text(model: TranslationModel) -> UsageError:
    hint = "leave out --prompt and --prompts, or specify another model"
    return UsageError(f"model '{model.name}' takes no text", hint=hint)


def usual(model: TranslationModel, *, texts: bool) -> Guidance:
    """Return the guidance scales where none are given: off, but for pipelines those that their authors use."""
    if labels.pipeline_texts(model) is None:
        return PLAIN
    return Guidance(image=IMAGE_SCALE if model.denoiser.sees_source else 1.0, label=TEXT_SCALE if texts else 1.0)


def guidance_of(
    request: ConditionOptions, model: TranslationModel, *, in_turn: bool = False, texts: bool = False
) -> Guidance:
    """Return the guidance scales for a model.

    Args:
        in_turn, texts: as of `label_of`.

    Raises:
        UsageError: the model does not have the condition, or was never trained without it.
    """
    perturbation = None
    if request.perturbed_guidance is not None:
        perturbation = build(PERTURBATIONS, request.perturbed_guidance, what="perturbation")
    texts = texts or bool(request.prompt)
    if texts and not model.takes_text:
        raise _takes_no_text(model)
    by_default = usual(model, texts=texts)
    label = by_default.label if request.guidance_scale is None else request.guidance_scale
    image = by_default.image if request.image_guidance_scale is None else request.image_guidance_scale
    given = (
        ("--guidance-scale", label, model.classes or model.takes_text, "takes neither a class nor a text"),
        ("--image-guidance-scale", image, model.denoiser.sees_source, "does not take the source as a condition"),
    )
    for option, scale, has_condition, why_not in given:
        if scale == 1:
            continue
        if not has_condition:
            raise UsageError(f"{option} {scale:g}: model '{model.name}' {why_not}", hint=f"remove {option}")
        if not model.card.condition_dropout:
            raise UsageError(
                f"{option} {scale:g}: model '{model.name}' was not trained with condition dropout",
                hint=f"remove {option}, or train a model with: ddbm train DATA --drop 0.05",
            )
    if model.takes_text and label != 1 and not texts:
        raise UsageError(f"--guidance-scale {label:g} needs a text", hint='add --prompt "TEXT"')
    if not model.takes_text and not request.class_name and label != 1 and not in_turn:
        raise UsageError(f"--guidance-scale {label:g} needs a class", hint="add --class NAME")
    return Guidance(image=image, label=label, perturbation=perturbation)
