"""Cards of every earlier format are upgraded to the current one."""

import json

import pytest

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models import builtin_path
from ddbm_cli.models.card import ModelCard, describe_card, read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.registry import read_registry
from ddbm_cli.registry.card_format import FORMAT, OLDEST, UPGRADES, upgrade
from ddbm_cli.registry.header import HEADER_KEY
from tests.tiny import tiny_card

FORMAT_1 = {
    "format": 1,
    "name": "old",
    "task": "-> thing",
    "network": {"name": "adm", "in_channels": 3, "classes": 2},
    "path": {"name": "ve"},
    "prediction": {"name": "preconditioned"},
    "preprocess": {"size": 16, "fit": "pad", "paper": 255},
    "defaults": {
        "sampler": {"name": "heun", "churn": 0.0},
        "grid": {"name": "karras"},
        "start": {"name": "prior"},
        "steps": 3,
    },
    "sees_source": False,
    "classes": ["cat", "dog"],
    "drop": 0.25,
    "clip": True,
    "fills_holes": False,
    "seen": {"training": "AAAA"},
}
"""A card as format 1 wrote it."""


def read(body) -> ModelCard:
    return read_card({HEADER_KEY: json.dumps(body)}, file="m.safetensors")


def test_every_format_has_an_upgrade():
    assert len(UPGRADES) == FORMAT - OLDEST


def test_format_1():
    card = read(FORMAT_1)
    assert (card.kind, card.concat_source, card.class_names, card.num_classes) == ("prior", False, ("cat", "dog"), 2)
    assert (card.condition_dropout, card.inpainting, card.seen) == (0.25, False, {"training": "AAAA"})
    assert card.format == FORMAT and not card.text_conditional
    assert read(describe_card(card)) == card


def test_a_card_without_a_format_has_the_oldest():
    body = {name: value for name, value in FORMAT_1.items() if name != "format"}
    assert read(body) == read(FORMAT_1)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "prior"),
        ({"task": "sketch -> thing"}, "prior"),  # the words of the task do not matter
        ({"path": {"name": "vp-bridge"}}, "prior"),  # it starts from noise
        ({"path": {"name": "vp-bridge"}, "defaults": FORMAT_1["defaults"] | {"start": {"name": "booted"}}}, "bridge"),
        ({"sees_source": True}, "bridge"),
        ({"path": {"name": "ddpm"}, "defaults": FORMAT_1["defaults"] | {"start": {"name": "noised"}}}, "prior"),
    ],
)
def test_priors_of_format_1_are_found_by_path_and_start(changes, kind):
    assert upgrade(FORMAT_1 | changes)["kind"] == kind


def test_an_inpainting_model_of_format_1():
    card = read(FORMAT_1 | {"sees_source": True, "fills_holes": True})
    assert card.inpainting and card.kind == "bridge"


def test_the_built_in_models_are_of_format_1_and_are_read():
    kinds = {name: entry.facts()["kind"] for name, entry in read_registry().items() if entry.builtin}
    sketches = ("sketch-to-3d-64", "sketch-to-3d-64-fast", "sketch-to-clothing-256")
    bridges = dict.fromkeys((*sketches, "instruct-small", "autoencoder-8x"), "bridge")
    assert kinds == bridges | {"prior-3d-64": "prior"}
    assert json.loads(read_header(builtin_path())[HEADER_KEY])["format"] == 1


def test_settings_have_their_current_names_in_every_format():
    card = {
        "prediction": {"name": "preconditioned", "clock": "log-snr"},
        "defaults": {"grid": {"name": "listed", "at": [0.5]}, "steps": 3},
    }
    for version in (1, FORMAT):
        upgraded = upgrade({**card, "format": version})
        assert upgraded["prediction"] == {"name": "preconditioned", "c_noise": "log-snr"}
        assert upgraded["defaults"] == {"grid": {"name": "timesteps", "at": [0.5]}, "steps": 3}


def test_a_current_card_is_not_changed():
    body = describe_card(tiny_card())
    assert upgrade(body) == body


@pytest.mark.parametrize("version", [0, -1, FORMAT + 1, "1", None, 1.0, True, [1], 10**40])
def test_an_impossible_format_is_explained(version):
    with pytest.raises(ModelError, match="format") as caught:
        read(FORMAT_1 | {"format": version})
    assert ("upgrade" in caught.value.hint) == (type(version) is int and version > FORMAT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "prior", "concat_source": True}, "a prior with concat_source"),
        ({"kind": "prior", "concat_source": False, "inpainting": True}, "a prior with inpainting"),
        ({"class_names": ["a"]}, "1 class_names, but the network has 0 classes"),
        ({"network": {"name": "adm", "classes": "2"}}, "network.classes"),
        ({"network": {"name": "adm", "classes": True}}, "network.classes"),
        ({"condition_dropout": 2.0}, "condition_dropout"),
        ({"kind": "other"}, "kind"),
        ({"sees_source": True}, "sees_source"),
    ],
)
def test_contradictions_are_explained(changes, message):
    with pytest.raises(ModelError, match=message):
        read(describe_card(tiny_card()) | changes)
