"""Labels of a model's network: the tokens of a text, and what stands for no class and no text."""

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.models.card import ModelCard
from ddbm_cli.networks import NETWORKS, ADMConfig


def tokens_of(card: ModelCard, text: str) -> Tensor:
    """Return the tokens (L,) of a text.

    Raises:
        UsageError: the model takes no text, the text is too long, or the library tokenizers is not installed.
    """
    if card.vocabulary is None:
        raise UsageError(f"model '{card.name}' takes no text", hint="leave out --prompt, or specify another model")
    config = build(NETWORKS, card.network, what="network")
    assert isinstance(config, ADMConfig), "only these have a vocabulary"
    return card.vocabulary.tokens_of([text], config.text_length)[0]


def no_label(card: ModelCard) -> Tensor | None:
    """Return the label of an image without class and text: 0-d, or tokens (L,); None if the network takes neither."""
    if card.vocabulary is not None:
        return tokens_of(card, "")
    return torch.tensor(NO_LABEL) if card.num_classes else None
