"""What a network is conditioned on besides the source: the class or the text of each pair."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.imaging.pairs import Pair, PairSplit
from ddbm_cli.models import locate
from ddbm_cli.models.load import checked_card
from ddbm_cli.models.vocabulary import Vocabulary, learn
from ddbm_cli.options.train import TrainRequest

ROOM = 8
"""Tokens that a text may have more than the longest of the training: rare words have several."""


@dataclass(frozen=True)
class Labels:
    """The classes or the texts of a training; one of them, or neither.

    classes: their names. vocabulary: the tokens of the texts.
    length: number of tokens of a text, at most.
    source: what the texts are, see `TrainRequest.text`.
    """

    classes: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None
    length: int = 0
    source: str = ""

    @property
    def network(self) -> dict[str, Any]:
        """The settings of a network that takes them."""
        if self.vocabulary is not None:
            return {"vocabulary": len(self.vocabulary.tokens), "text_length": self.length}
        return {"classes": len(self.classes)} if self.classes else {}

    def of(self, pairs: Sequence[Pair]) -> Tensor | None:
        """Return the labels of pairs, (N,) or (N, L), see `denoisers.Conditions`; None for neither."""
        if self.vocabulary is not None:
            return self.vocabulary.tokens_of([text_of(pair, self.source) for pair in pairs], self.length)
        return torch.tensor([self.classes.index(pair.class_name) for pair in pairs]) if self.classes else None

    @property
    def words(self) -> str:
        """What they are, in words, "" for neither."""
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
    files = [request.resume / "model.safetensors"] if request.resume else []
    files += [locate(request.start_from)] if request.start_from else []
    for file in files:
        with suppress(ModelError):
            if (known := checked_card(Path(file)).vocabulary) is not None:
                return known
    return None


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
