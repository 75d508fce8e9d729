"""Texts as tokens, for models that take a text: byte pair encoding (arXiv:1508.07909), by the library tokenizers.

A vocabulary is learned from the texts of a training and stored in the model card as lists, which are checked before the
library gets them. Letters are lowercase; words and punctuation are separate.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import settings
from ddbm_cli.foundation.text import one_line
from ddbm_cli.networks.text import NO_TOKEN

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

UNKNOWN = "[UNK]"
"""The first token: stands for characters that no training text had."""

MOST_TOKENS = 2**13
"""Tokens that are learned, at most."""

MOST_WORDS = 100
"""Words that are stored for people, at most."""

MOST_CHARACTERS = 10_000
"""Of a text; longer ones are refused before they are tokenised."""

WORD = re.compile(r"[^\W\d_]{1,64}")
"""Letters in a row."""

Token = Annotated[str, Field(min_length=1, max_length=64)]


@settings
class Vocabulary:
    """The tokens of texts, in the order of their numbers, and which pairs of them are joined, in this order.

    words: the most frequent words of the texts, in alphabetical order, for people; empty if they are not stored.
    """

    tokens: Annotated[tuple[Token, ...], Field(min_length=1, max_length=2**16)]
    merges: Annotated[tuple[tuple[Token, Token], ...], Field(max_length=2**16)] = ()
    words: Annotated[tuple[Token, ...], Field(max_length=MOST_WORDS)] = ()

    @property
    def fault(self) -> str:
        """What is wrong with it, "" for nothing."""
        known = set(self.tokens)
        if len(known) != len(self.tokens) or self.tokens[0] != UNKNOWN:
            return f"its tokens are not different, or the first is not {UNKNOWN}"
        if any(not {one, other, one + other} <= known for one, other in self.merges):
            return "it joins tokens that it does not have"
        return ""

    def tokens_of(self, texts: Sequence[str], length: int) -> Tensor:
        """Return the tokens of texts, int64 (B, length), NO_TOKEN after their end.

        Raises:
            UsageError: a text is too long, or the library is not installed.
        """
        rows = torch.full((len(texts), length), NO_TOKEN)
        for row, encoding in zip(rows, self._encoded(texts), strict=True):
            if len(encoding.ids) > length:
                raise UsageError(
                    f"a text of {len(encoding.ids)} tokens; this model takes at most {length}",
                    hint="shorten the text",
                )
            row[: len(encoding.ids)] = torch.tensor(encoding.ids, dtype=torch.long)
        return rows

    def longest(self, texts: Sequence[str]) -> int:
        """Return the number of tokens of the longest text.

        Raises:
            UsageError: as `tokens_of`.
        """
        return max((len(encoding.ids) for encoding in self._encoded(texts)), default=0)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that are no token as a whole: rare in the training texts, or in none of them.

        Raises:
            UsageError: as `tokens_of`.
        """
        (encoding,) = self._encoded([text])
        places = range(len(encoding.ids))
        words = [list(group) for _, group in itertools.groupby(places, key=encoding.word_ids.__getitem__)]
        spans = [(encoding.offsets[word[0]][0], encoding.offsets[word[-1]][1]) for word in words]
        odd = [len(word) > 1 or encoding.tokens[word[0]] == UNKNOWN for word in words]
        return list(dict.fromkeys(text[begin:end] for (begin, end), is_odd in zip(spans, odd, strict=True) if is_odd))

    def _encoded(self, texts: Sequence[str]) -> list["Encoding"]:
        check_characters(texts)
        return list(_tokenizer_of(self, _library()).encode_batch(list(texts)))


def check_characters(texts: Iterable[str]) -> None:
    """Check texts before they are tokenised.

    Raises:
        UsageError: one has more than MOST_CHARACTERS.
    """
    for text in texts:
        if len(text) > MOST_CHARACTERS:
            raise UsageError(f"a text of {len(text):,} characters: '{one_line(text[:40])}...'", hint="shorten the text")


def learn(texts: Iterable[str], most: int = MOST_TOKENS) -> Vocabulary:
    """Return the vocabulary of texts; words that occur in them become tokens as far as there is room.

    Args:
        most: number of tokens, at most.

    Raises:
        UsageError: the library is not installed.
    """
    library, texts = _library(), sorted(texts)
    tokenizer = _tokenizer(library.models.BPE(unk_token=UNKNOWN))
    trainer = library.trainers.BpeTrainer(vocab_size=most, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    numbers = tokenizer.get_vocab()
    ordered = sorted(numbers, key=numbers.__getitem__)
    return Vocabulary(tokens=tuple(ordered), merges=_merges_of(tokenizer), words=words_of(texts))


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the most frequent words of texts, at most MOST_WORDS, in alphabetical order."""
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
    return tuple(sorted(frequent))


def _merges_of(tokenizer: "Tokenizer") -> tuple[tuple[str, str], ...]:
    from ddbm_cli.foundation.documents import parse_json

    return tuple((one, other) for one, other in parse_json(tokenizer.to_str())["model"]["merges"])


@lru_cache(maxsize=4)
def _tokenizer_of(vocabulary: Vocabulary, library: Any) -> "Tokenizer":
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    return _tokenizer(library.models.BPE(vocab=numbers, merges=list(vocabulary.merges), unk_token=UNKNOWN))


def _tokenizer(model: Any) -> "Tokenizer":
    library = _library()
    tokenizer: Tokenizer = library.Tokenizer(model)
    tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    return tokenizer


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UsageError(
            "models that take a text need the library tokenizers", hint="pip install 'ddbm-cli[text]'"
        ) from None
    return tokenizers
