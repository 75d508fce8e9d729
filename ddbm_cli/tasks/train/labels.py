"""What a network is conditioned on besides the source: the class or the text of each pair."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.settings import build
from ddbm_cli.imaging.pairs import Pair, PairSplit
from ddbm_cli.models import ModelCard, locate
from ddbm_cli.models.features import TextFeatures, TextRows, features_of
from ddbm_cli.models.load import checked_card
from ddbm_cli.models.vocabulary import Vocabulary, learn
from ddbm_cli.networks import NETWORKS, DiffusersNetworkConfig
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.training.batches import Rows

ROOM = 8
"""Tokens that a text may have more than the longest of the training: rare words have several."""


@dataclass(frozen=True)
class Labels:
    """The classes or the texts of a training; one of them, or neither.

    classes: their names. vocabulary: the tokens of the texts. features: of the texts, by a frozen encoder in its place.
    length: number of tokens of a text, at most.
    source: what the texts are, see `TrainRequest.text`.
    """

    classes: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None
    features: TextFeatures | None = None
    length: int = 0
    source: str = ""

    @property
    def takes_text(self) -> bool:
        """Whether they are texts."""
        return self.vocabulary is not None or self.features is not None

    @property
    def network(self) -> dict[str, Any]:
        """The settings of a network that takes them."""
        if self.features is not None:
            return {"text_features": self.features.facts.width}
        if self.vocabulary is not None:
            return {"vocabulary": len(self.vocabulary.tokens), "text_length": self.length}
        return {"classes": len(self.classes)} if self.classes else {}

    def of(self, pairs: Sequence[Pair]) -> Rows | None:
        """Return the labels of pairs, (N, ...), see `denoisers.Conditions`; None for neither."""
        texts = [text_of(pair, self.source) for pair in pairs] if self.takes_text else []
        if self.features is not None:
            return TextRows(texts, self.features)
        if self.vocabulary is not None:
            return self.vocabulary.tokens_of(texts, self.length)
        return torch.tensor([self.classes.index(pair.class_name) for pair in pairs]) if self.classes else None

    @property
    def words(self) -> str:
        """What they are, in words, "" for neither."""
        if self.features is not None:
            facts = self.features.facts
            return f" with texts ({self.source}; {facts.reference}, {facts.width} features, {facts.length} tokens)"
        if self.vocabulary is not None:
            return f" with texts ({self.source}; {len(self.vocabulary.tokens)} tokens, at most {self.length} in a text)"
        return f" of {len(self.classes)} classes" if self.classes else ""


def labels_of(request: TrainRequest, pairs: PairSplit) -> Labels:
    """Return the classes or texts of the pairs of a request.

    Raises:
        UsageError: an image has no class, or no image has a text.
        ModelError: the model that the run begins with cannot be read.
    """
    if request.classes:
        return Labels(_classes_of(pairs))
    if request.text is None:
        return Labels()
    every = [*pairs.train, *pairs.val]
    texts = [text_of(pair, request.text) for pair in every]
    if not any(texts):
        hint = {
            "captions": "name them in the column caption of a list of pairs, or in KEY.txt of shards",
            "classes": "put every image into a folder of its class, A/cat/1.png and B/cat/1.png",
            "names": "name the files by what they show",
        }
        raise UsageError(f"--text {request.text}: no image has a text", hint=hint[request.text])
    if request.text_encoder is not None:
        return Labels(features=_encoder_of(request, texts), source=request.text)
    vocabulary = _known(request) or learn(texts[: len(pairs.train)])
    return Labels(vocabulary=vocabulary, length=vocabulary.longest(texts) + ROOM, source=request.text)


def text_of(pair: Pair, source: str) -> str:
    """Return the text of a pair: its caption, the words of its file name, or its class."""
    if source == "captions":
        return pair.caption
    word = pair.class_name if source == "classes" else PurePath(pair.name).stem
    return " ".join(word.replace("_", " ").replace("-", " ").split())


def _known(request: TrainRequest) -> Vocabulary | None:
    """Return the vocabulary of the run that is resumed, or of the model that a run begins with; None for a new one."""
    return next((card.vocabulary for card in _cards(request) if card.vocabulary is not None), None)


def _cards(request: TrainRequest) -> Iterator[ModelCard]:
    """Yield the cards of the run that is resumed, and of the model that a run begins with."""
    files = [request.resume / "model.safetensors"] if request.resume else []
    files += [locate(request.start_from)] if request.start_from else []
    for file in files:
        with suppress(ModelError):
            yield checked_card(Path(file))


def _encoder_of(request: TrainRequest, texts: Sequence[str]) -> TextFeatures:
    """Return the features of texts by the encoder of a request, after a check of their lengths.

    Raises:
        UsageError: one is too long, or it is not the encoder of the model that the run begins with.
        ModelError: it is not there, or damaged.
    """
    assert request.text_encoder is not None
    is_theirs = build(NETWORKS, request.network, what="network").name == DiffusersNetworkConfig.name
    features = features_of(request.text_encoder, padded=is_theirs)
    for card in _cards(request):
        known = card.text_encoder
        if known and known.reference == features.facts.reference and known.sha256 != features.facts.sha256:
            raise UsageError(
                f"{known.reference}: not the text encoder that model '{card.name}' was trained with (another sha256)",
                hint="restore the files of the original one",
            )
    features.check(texts)
    return features


def _classes_of(pairs: PairSplit) -> tuple[str, ...]:
    """Return the names of the classes, sorted.

    Raises:
        UsageError: an image is in no folder of a class.
    """
    names = sorted({pair.class_name for pair in pairs.train})
    odd = [pair.target for pair in (*pairs.train, *pairs.val) if not pair.class_name or pair.class_name not in names]
    if odd:
        raise UsageError(
            f"{odd[0]} has no class that has training images",
            hint="put every image into a folder of its class, A/cat/1.png and B/cat/1.png, or name it in the column "
            "class of a list; or leave out --classes",
        )
    return tuple(names)
