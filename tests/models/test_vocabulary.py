"""Texts as tokens: learned from training texts, stored as lists, checked before use."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.methods.conditions import doubts_of
from ddbm_cli.models import assemble, vocabulary
from ddbm_cli.models.assemble import outline
from ddbm_cli.models.card import describe_card, parse_card
from ddbm_cli.models.labels import text_label
from ddbm_cli.models.vocabulary import MOST_CHARACTERS, UNKNOWN, Vocabulary, learn, words_of
from ddbm_cli.networks.blocks import normal
from tests.tiny import NETWORK, tiny_card

pytest.importorskip("tokenizers", reason='needs pip install "ddbm-cli[text]"')

TEXTS = ["make it red", "make it blue", "flip it left-to-right", "red or blue?"]


def test_words_of_the_training_are_tokens_as_a_whole():
    known = learn(TEXTS)
    assert known.tokens[0] == UNKNOWN and {"make", "it", "red", "blue", "?"} <= set(known.tokens) and not known.fault
    (row,) = known.tokens_of(["Make it RED"], 6)
    assert [known.tokens[number] for number in row[:3]] == ["make", "it", "red"] and row[3:].tolist() == [-1] * 3
    assert known.tokens_of(["", "red"], 2).tolist() == [[-1, -1], [known.tokens.index("red"), -1]]


def test_it_depends_on_the_texts_alone():
    assert learn(TEXTS) == learn(reversed(TEXTS)) != learn(TEXTS[:2])
    assert len(learn(TEXTS, most=30).tokens) == 30


def test_unknown_words_are_named_as_they_were_written():
    known = learn(TEXTS)
    assert known.unknown_words("Make it Snow, or 雪") == ["Snow", ",", "雪"]
    assert known.unknown_words("make it blue") == [] == known.unknown_words("")


def test_texts_that_are_too_long_are_refused():
    known = learn(TEXTS)
    with pytest.raises(UsageError, match="3 tokens; this model takes at most 2"):
        known.tokens_of(["make it red"], 2)
    with pytest.raises(UsageError, match="characters"):
        known.tokens_of(["red " * MOST_CHARACTERS], 2)
    assert known.longest(TEXTS) == 7 and known.longest([]) == 0


def test_the_tokenizer_of_a_model_is_built_once(monkeypatch):
    model = SimpleNamespace(card=text_card(vocabulary=learn([*TEXTS, "once"])), texts=None)
    built, original = [], vocabulary._tokenizer
    monkeypatch.setattr(vocabulary, "_tokenizer", lambda own: built.append(own) or original(own))
    first = text_label(model, "make it blue")
    assert torch.equal(first, text_label(model, "make it blue")) and len(first) == 8
    assert not torch.equal(first, text_label(model, "make it red")) and len(built) == 1


def test_the_most_frequent_words_are_stored_and_named_next_to_unknown_ones(monkeypatch):
    known = learn(TEXTS)
    assert "red" in known.words and list(known.words) == sorted(known.words)
    monkeypatch.setattr(vocabulary, "MOST_WORDS", 2)
    assert words_of(["b c, d", "D: c3 c", "a"]) == ("c", "d")
    model = SimpleNamespace(card=text_card(vocabulary=known), texts=None, name="m", takes_text=True)
    (note,) = doubts_of(["make it look like van Gogh"], model)
    assert "'look', 'like', 'van', 'Gogh'" in note and f"its most frequent words: {', '.join(known.words)}" in note
    assert doubts_of(["make it red"], model) == []
    (note,) = doubts_of(["", " "], model)
    assert "none is given" in note and "--prompt" in note


def test_the_library_is_named_where_it_is_missing(monkeypatch):
    known = learn(TEXTS)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError) as caught:
        known.tokens_of(["red"], 4)
    assert "ddbm-cli[text]" in caught.value.hint


def text_card(**changes):
    known = changes.pop("vocabulary", learn(TEXTS))
    network = NETWORK | {"vocabulary": len(known.tokens), "text_length": 8, "text_width": 32}
    return tiny_card(network=network, vocabulary=known, text_conditional=True, **changes)


def test_a_card_holds_it():
    card = text_card()
    body = describe_card(card)
    assert parse_card(body, where="x", hint="y").vocabulary == card.vocabulary
    assert assemble(card).network.text_encoder.tokens.num_embeddings == len(card.vocabulary.tokens)


@pytest.mark.parametrize(
    "vocabulary",
    [
        Vocabulary(tokens=("a", UNKNOWN)),
        Vocabulary(tokens=(UNKNOWN, "a", "a")),
        Vocabulary(tokens=(UNKNOWN, "a"), merges=(("a", "b"),)),
        Vocabulary(tokens=(UNKNOWN, "a"), merges=(("a", "a"),)),
    ],
    ids=["order", "twice", "unknown", "unjoined"],
)
def test_a_damaged_vocabulary_is_refused(vocabulary):
    with pytest.raises(ModelError):
        parse_card(describe_card(text_card(vocabulary=vocabulary)), where="x", hint="y")


@pytest.mark.parametrize(
    "change", [{"vocabulary": None}, {"text_conditional": False}, {"network": NETWORK}], ids=["none", "text", "network"]
)
def test_a_card_that_contradicts_its_vocabulary_is_refused(change):
    with pytest.raises(ModelError):
        parse_card(describe_card(replace(text_card(), **change)), where="x", hint="y")


def test_a_text_changes_the_estimate_and_no_text_is_that_of_an_empty_one():
    network = assemble(text_card()).network.eval()
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(std=0.5)
        x, time = torch.randn(2, 6, 16, 16), torch.zeros(1)
        known = learn(TEXTS)
        one, other, empty = (network(x, time, known.tokens_of([text], 8)) for text in ("make it red", "it", ""))
        assert (one - other).abs().max() > 1e-2 and torch.allclose(empty, network(x, time), rtol=1e-4, atol=1e-3)
        mixed = network(x, time, known.tokens_of(["make it red", ""], 8))
    assert torch.allclose(mixed[:1], one[:1], rtol=1e-4, atol=1e-3) and torch.allclose(
        mixed[1:], empty[1:], rtol=1e-4, atol=1e-3
    )


def test_first_weights_are_torchs_and_are_not_drawn_where_no_values_are_needed(monkeypatch):
    made = []
    for weights in (lambda: normal(50, 3), lambda: nn.Embedding(50, 3).weight, lambda: torch.randn(50, 3)):
        torch.manual_seed(0)
        made.append((weights(), torch.rand(1)))
    assert all(torch.equal(weights, made[0][0]) and after == made[0][1] for weights, after in made)
    for name in ("normal_", "randn"):  # on this device they import a compiler, which takes seconds
        monkeypatch.setattr(torch.Tensor if name == "normal_" else torch, name, None)
    assert outline(text_card()).network.text_encoder.tokens.weight.is_meta
