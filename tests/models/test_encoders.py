"""Frozen text encoders of transformers: their features, and what is refused."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")

from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.models import assemble, features
from ddbm_cli.models.card import EncoderFacts, describe_card, parse_card
from ddbm_cli.models.encoders import T5_LENGTH, FrozenEncoder, find_encoder
from ddbm_cli.models.features import TextFeatures, TextRows, features_of
from ddbm_cli.models.texts import embed
from ddbm_cli.registry.library import constants
from tests.pipelines import write_clip, write_pipeline, write_t5
from tests.tiny import NETWORK, tiny_card, write_tiny

TEXT = "make it red"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    write_clip(root / "clip")
    write_t5(root / "t5")
    write_pipeline(root / "pipeline")
    return root


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip")


def theirs(kind, folder, text):
    """The features of a text by transformers alone."""
    encoder, tokenizer = {"clip": (CLIPTextModel, CLIPTokenizer), "t5": (T5EncoderModel, T5Tokenizer)}[kind]
    with torch.no_grad():
        given = tokenizer.from_pretrained(folder)(text, return_tensors="pt")
        return encoder.from_pretrained(folder).eval()(**given).last_hidden_state[0]


@pytest.mark.parametrize(("kind", "length"), [("clip", 20), ("t5", T5_LENGTH)])
def test_features_are_those_of_transformers(root, kind, length):
    made = features_of(f"{kind}:{root / kind}", padded=False)
    assert (made.facts.width, made.facts.length) == (16, length) and made.facts.reference == f"{kind}:{root / kind}"
    label, wanted = made.label(TEXT), theirs(kind, root / kind, TEXT)
    assert label.shape == (length, 16) and (label[: len(wanted)] - wanted).abs().max() < 1e-6
    assert (label[len(wanted) :] == -1).all() and len(wanted) > 8
    assert (made.label("") == -1).all() and (made.label(" ") == -1).all()
    assert (made.label("make it blue") - label).abs().max() > 1e-2


def test_features_of_a_pipeline_are_those_that_its_network_gets(root):
    made = features_of(f"clip:{root / 'pipeline'}", padded=True)
    assert (made.label(TEXT) - embed(root / "pipeline", [TEXT])[0][0]).abs().max() < 1e-6


def test_features_of_a_text_are_computed_once_and_the_latest_are_kept(root, monkeypatch):
    computed, original = [], FrozenEncoder.features
    monkeypatch.setattr(
        FrozenEncoder, "features", lambda self, text, **how: computed.append(text) or original(self, text, **how)
    )
    made = features_of(f"clip:{root / 'clip'}", padded=False)
    rows = TextRows(["a", "b", "a", ""], made)
    assert rows[[0, 2, 1, 3]].shape == (4, 20, 16) and torch.equal(*rows[[0, 2]]) and computed == ["a", "b"]
    monkeypatch.setattr(features, "CACHE_BYTES", 2 * 4 * 20 * 16)
    small = TextFeatures(made.facts, made.encoder)
    first = [small.label(text) for text in "abca"]
    assert computed[2:] == ["a", "b", "c", "a"] and torch.equal(first[0], first[3])


def test_texts_that_are_too_long_are_refused(root):
    made = features_of(f"clip:{root / 'clip'}", padded=False)
    made.check(["a" * 18, ""])
    for check in (made.check, lambda texts: made.label(*texts)):
        with pytest.raises(UsageError, match=r"a text of 19 tokens.*at most 18"):
            check(["a " * 19])
    with pytest.raises(UsageError, match="characters"):
        made.check(["a" * 20_000])


def test_another_encoder_is_refused(clip):
    facts = features_of(f"clip:{clip}", padded=False).facts
    file = clip / "model.safetensors"
    weights = load_file(file)
    save_file({name: value + 1e-3 for name, value in weights.items()}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not the text encoder that the model was trained with") as caught:
        TextFeatures(facts).label(TEXT)
    assert "original" in caught.value.hint
    assert (TextFeatures(facts).label("") == -1).all()  # needs no encoder
    file.unlink()
    with pytest.raises(ModelError, match="has no model"):
        TextFeatures(facts).label(TEXT)


def test_references(root, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(clip.parent)
    assert features_of("clip:clip", padded=False).facts.reference == f"clip:{clip}"
    for odd in ("bert:clip", "clip:", "clip"):
        with pytest.raises(UsageError, match="is no text encoder"):
            find_encoder(odd)
    with pytest.raises(ModelError, match="neither a folder"):
        find_encoder("clip:org/nothing")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub" / "models--org--sd" / "refs").mkdir(parents=True)
    (tmp_path / "hub" / "models--org--sd" / "refs" / "main").write_text("a" * 40)
    snapshot = tmp_path / "hub" / "models--org--sd" / "snapshots" / ("a" * 40)
    snapshot.parent.mkdir()
    snapshot.symlink_to(root / "pipeline")
    assert find_encoder("clip:org/sd").folder == snapshot / "text_encoder"
    assert find_encoder(f"clip:org/sd@{'a' * 40}").tokenizer == snapshot / "tokenizer"


def test_transformers_is_named_where_it_is_missing(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match="need the package transformers") as caught:
        features_of(f"clip:{root / 'clip'}", padded=False)
    assert "pip install" in caught.value.hint


def test_damaged_folders_are_refused(clip):
    def changed(**changes):
        body = json.loads((clip / "config.json").read_text())
        (clip / "config.json").write_text(json.dumps(body | {"text_config": body["text_config"] | changes}))

    changed(hidden_size=2**13)
    with pytest.raises(ModelError, match="weights, its file has"):
        features_of(f"clip:{clip}", padded=False)
    changed(hidden_size=16, num_hidden_layers=2)
    with pytest.raises(ModelError, match="have no weights"):
        features_of(f"clip:{clip}", padded=False)
    changed(num_hidden_layers=10**6)
    with pytest.raises(ModelError, match="more than 128 layers"):
        features_of(f"clip:{clip}", padded=False)


FACTS = EncoderFacts(reference="clip:org/clip", width=16, length=20, sha256="0" * 64)


ENCODED = {"network": NETWORK | {"text_features": 16}, "text_encoder": FACTS, "text_conditional": True}


def encoded_card(**changes):
    return tiny_card(**ENCODED | changes)


def test_the_facts_of_a_model_name_it(ddbm, tmp_path):
    _, out, _ = ddbm("weights", "info", write_tiny(tmp_path / "tiny.safetensors", **ENCODED))
    assert b"clip:org/clip, at most 20 tokens; not a part of the file" in out


def test_a_card_holds_it():
    assert parse_card(describe_card(encoded_card()), where="x", hint="y").text_encoder == FACTS


@pytest.mark.parametrize(
    "changes",
    [
        {"text_encoder": None},
        {"text_conditional": False},
        {"network": NETWORK},
        {"network": NETWORK | {"text_features": 16, "classes": 2}},
        {"network": NETWORK | {"text_features": 16, "tokens": 77}},
        {"text_encoder": replace(FACTS, width=32)},
    ],
    ids=str,
)
def test_a_card_that_contradicts_it_is_refused(changes):
    with pytest.raises(ModelError):
        parse_card(describe_card(encoded_card(**changes)), where="x", hint="y")


@pytest.mark.parametrize("changes", [{"reference": "pickle:x"}, {"sha256": ""}, {"width": 0}], ids=str)
def test_damaged_facts_are_refused(changes):
    body = describe_card(encoded_card())
    with pytest.raises(ModelError, match=f"text_encoder.{next(iter(changes))}"):
        parse_card(body | {"text_encoder": body["text_encoder"] | changes}, where="x", hint="y")


def test_a_text_changes_the_estimate_and_places_after_its_end_do_not(root):
    network = assemble(encoded_card()).network.eval()
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(std=0.5)
        x, time = torch.randn(2, 6, 16, 16), torch.zeros(1)
        made = features_of(f"clip:{root / 'clip'}", padded=False)
        one, other, empty = (made.label(text)[None] for text in (TEXT, "it", ""))
        found, shorter, nothing = (network(x, time, each) for each in (one, one[:, :13], empty))
        assert (found - network(x, time, other)).abs().max() > 1e-2 and (found - nothing).abs().max() > 1e-2
        assert torch.allclose(found, shorter, rtol=1e-4, atol=1e-3)
        assert torch.allclose(nothing, network(x, time), rtol=1e-4, atol=1e-3)
        mixed = network(x, time, torch.cat([one, empty]))
    assert torch.allclose(mixed, torch.stack([found[0], nothing[1]]), rtol=1e-4, atol=1e-3)


def test_a_note_says_that_no_text_is_given():
    from ddbm_cli.methods.conditions import doubts_of

    model = SimpleNamespace(card=encoded_card(), name="m", takes_text=True)
    assert doubts_of(["unheard words"], model) == [] and "none is given" in doubts_of([""], model)[0]
