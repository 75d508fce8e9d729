"""Labels of a model's network: numbers of classes, tokens or features of texts, and what stands for neither."""

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.features import TextFeatures
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.models.texts import PipelineTexts
from ddbm_cli.networks import ADMConfig


def text_label(model: TranslationModel, text: str) -> Tensor:
    """Return the label of a text: tokens (L,), features (L, width) by a frozen encoder, or for pipelines a number, 0-d.

    Raises:
        UsageError: the model takes no text, the text is too long, or the library tokenizers is not installed.
    """
    if model.texts is not None:
        return model.texts.label(text)
    card = model.card
    if card.vocabulary is None:
        raise UsageError(f"model '{card.name}' takes no text", hint="leave out --prompt, or specify another model")
    length = card.network.get("text_length", ADMConfig.text_length)
    return card.vocabulary.tokens_of([text], length)[0]


def pipeline_texts(model: TranslationModel) -> PipelineTexts | None:
    """Return the texts of a pipeline; None for other models."""
    return model.texts if isinstance(model.texts, PipelineTexts) else None


def check_text(model: TranslationModel, text: str) -> None:
    """Check the length of a text for a model's encoder; a pipeline's checks it when it embeds the text.

    Raises:
        UsageError: it is too long.
    """
    if isinstance(model.texts, TextFeatures):
        model.texts.check([text])
    elif model.texts is None:
        text_label(model, text)


def no_label(model: TranslationModel) -> Tensor | None:
    """Return the label of an image without class and text, that of an empty text; None if the network takes neither."""
    if model.takes_text:
        return text_label(model, "")
    return torch.tensor(NO_LABEL) if model.classes else None


def label_of(card: ModelCard, name: str) -> int:
    """Return the number of a class, given by its name or its number.

    Raises:
        UsageError: there is no such class.
    """
    if name in card.class_names:
        return card.class_names.index(name)
    if name.isdecimal() and int(name) < card.num_classes:
        return int(name)
    if not card.num_classes:
        raise UsageError(f"model '{card.name}' has no classes", hint="leave out --class, or specify another model")
    names = ", ".join(card.class_names) or f"0 to {card.num_classes - 1}"
    raise UsageError(f"model '{card.name}' has no class '{name}'", hint=f"its classes: {names}")


def class_of(card: ModelCard, label: int) -> str | None:
    """Return the name of a class, or its number where it has none; None for -1."""
    if label < 0:
        return None
    return card.class_names[label] if card.class_names else str(label)
