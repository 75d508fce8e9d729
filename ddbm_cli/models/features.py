"""The features of texts by the frozen encoder that a card names, as labels of a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.denoisers import NO_LABEL
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.card import EncoderFacts
from ddbm_cli.models.encoders import FrozenEncoder, find_encoder

CACHE_BYTES = 2**29
"""Of features that are kept, at most."""


def features_of(reference: str, *, padded: bool) -> "TextFeatures":
    """Return the features of an encoder with its facts for a card.

    Args:
        reference: as of `find_encoder`; a folder is stored with its absolute path.
        padded: as of `EncoderFacts`.

    Raises:
        UsageError, ModelError: as `find_encoder` and `FrozenEncoder`.
    """
    place = find_encoder(reference)
    encoder = FrozenEncoder(place)
    facts = EncoderFacts(
        reference=absolute(reference),
        width=encoder.width,
        length=encoder.length,
        sha256=place.digest,
        padded=padded,
    )
    return TextFeatures(facts, encoder)


def absolute(reference: str) -> str:
    """Return a reference that is found from any folder."""
    kind, _, name = reference.partition(":")
    folder = Path(name).expanduser()
    return f"{kind}:{folder.absolute()}" if folder.is_dir() else reference


class TextFeatures:
    """The features of texts. Those of each text are computed by themselves, and the latest are kept.

    Args:
        facts: the encoder, as a card names it.
        encoder: the same, loaded; None to load it for the first text.
    """

    def __init__(self, facts: EncoderFacts, encoder: FrozenEncoder | None = None) -> None:
        self.facts = facts
        if encoder is not None:
            self.encoder = encoder
        most = max(1, CACHE_BYTES // (4 * facts.length * facts.width))
        self._features = lru_cache(maxsize=most)(self._computed)

    @cached_property
    def encoder(self) -> FrozenEncoder:
        """The encoder.

        Raises:
            ModelError: it is not there, or another one.
        """
        place = find_encoder(self.facts.reference)
        encoder = FrozenEncoder(place) if place.digest == self.facts.sha256 else None
        if encoder is None or (encoder.width, encoder.length) != (self.facts.width, self.facts.length):
            raise ModelError(
                f"{place.folder}: not the text encoder that the model was trained with (another sha256)",
                hint="restore the files of the original one",
            )
        return encoder

    def label(self, text: str) -> Tensor:
        """Return the features of a text, (length, width), with NO_LABEL after its end and for an empty text.

        Raises:
            UsageError: the text is too long.
            ModelError: as `encoder`.
        """
        made = torch.full((self.facts.length, self.facts.width), float(NO_LABEL))
        if text.strip():
            found = self._features(text)
            made[: len(found)] = found
        return made

    def check(self, texts: Sequence[str]) -> None:
        """Check the lengths of texts.

        Raises:
            UsageError, ModelError: as `label`.
        """
        said = [text for text in dict.fromkeys(texts) if text.strip()]
        if said:
            self.encoder.check(said)

    def _computed(self, text: str) -> Tensor:
        return self.encoder.features(text, padded=self.facts.padded)


@dataclass(frozen=True)
class TextRows:
    """The labels of many texts, each computed when it is needed: `rows[[0, 3]]` is (2, length, width)."""

    texts: Sequence[str]
    features: TextFeatures

    def __getitem__(self, rows: list[int]) -> Tensor:
        return torch.stack([self.features.label(self.texts[row]) for row in rows])
