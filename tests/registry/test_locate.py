"""From a reference to a file: downloaded once, converted once, and then found without a request."""

import random
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models import builtin_path
from ddbm_cli.registry import read_registry
from ddbm_cli.registry.events import Doubted, Importing, Noticed, Pulling
from ddbm_cli.registry.locate import at_a_glance, conversions, finish, locating
from tests.tiny import write_tiny

BODY = random.Random(0).randbytes(50_000)

TABLES = """
[plain]
task = "a -> b"
repo = "org/repo"
file = "model.safetensors"

[foreign]
task = "a -> b"
repo = "org/repo"
file = "old.pt"
importer = "ddbm"

[foreign.card]
limits = "few"
"""


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch, hub):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDBM_WEIGHTS", raising=False)
    Path("weights.toml").write_text(TABLES)
    hub.add("org/repo", {"model.safetensors": write_tiny(tmp_path / "tiny.safetensors").read_bytes(), "old.pt": BODY})


class Converter:
    """Copies; counts."""

    def __init__(self, fault=None, doubts=()):
        self.calls = 0
        self.doubts = doubts
        self.fault = fault

    def __call__(self, source, output, entry):
        self.calls += 1
        assert (source.name, entry.name) == ("old.pt", "foreign")
        shutil.copyfile(source, output)
        if self.fault:
            raise self.fault
        return self.doubts


def steps(reference, convert):
    """Return the events, without those that name the registry, and the file."""
    walk, events = locating(reference, convert=convert), []
    while True:
        try:
            event = next(walk)
        except StopIteration as stop:
            return events, stop.value
        if not isinstance(event, Noticed):
            events.append(event)


def test_the_registry_of_the_working_folder_is_named_when_it_is_used(hub):
    events = list(locating("plain", convert=Converter()))
    assert events[0] == Noticed(message=f"model 'plain' is defined by {Path.cwd() / 'weights.toml'}")
    assert not [event for event in locating("sketch-to-3d-64", convert=None) if isinstance(event, Noticed)]


def test_a_packaged_name_in_the_working_folder_is_not_used_and_said(hub):
    Path("weights.toml").write_text(TABLES.replace("[plain]", "[sketch-to-3d-64]"))
    events, path = list(locating("sketch-to-3d-64", convert=None)), finish(locating("sketch-to-3d-64", convert=None))
    assert path == builtin_path() and "not used" in events[0].message


def glance(name):
    return at_a_glance(read_registry()[name])


@pytest.mark.parametrize("reference", [None, "sketch-to-3d-64"])
def test_the_built_in_model_needs_nothing(hub, reference):
    assert steps(reference, None) == ([], builtin_path())
    assert not hub.requests


@pytest.mark.parametrize(
    "reference",
    ["plain", "org/repo", "org/repo@main", "org/repo:model.safetensors", "hf://org/repo/model.safetensors", "COMMIT"],
)
def test_a_model_of_the_hub(hub, reference, monkeypatch):
    reference = reference.replace("COMMIT", f"org/repo@{hub.repos['org/repo'].commit}")
    with pytest.raises(ModelError, match="is not downloaded") as caught:
        finish(locating(reference, convert=None))
    assert "ddbm weights pull" in caught.value.hint and not hub.requests
    events, path = steps(reference, Converter())
    assert path.read_bytes() == hub.repos["org/repo"].files["model.safetensors"]
    assert {type(event) for event in events} == {Pulling}
    hub.requests.clear()
    assert finish(locating(reference, convert=None)) == path and not hub.requests
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert steps(reference, Converter()) == ([], path)


def test_a_file_without_a_card_is_converted_once(hub):
    convert = Converter()
    assert glance("foreign") == ""
    events, path = steps("foreign", convert)
    assert path.read_bytes() == BODY and path.suffix == ".safetensors"
    assert [type(event) for event in events] == [Pulling, Importing]
    assert glance("foreign") == "yes"
    hub.requests.clear()
    assert steps("foreign", convert) == ([], path) == steps("org/repo:old.pt", convert)
    assert steps("foreign", None) == ([], path)
    assert convert.calls == 1 and not hub.requests


def test_doubts_are_reported_once(hub):
    events, path = steps("foreign", Converter(doubts=["much noise is left"]))
    assert [(event.name, event.text) for event in events if isinstance(event, Doubted)] == [
        ("foreign", "much noise is left")
    ]
    assert steps("foreign", None) == ([], path)


def test_the_download_may_go_when_it_was_converted(hub):
    _, path = steps("foreign", Converter())
    shutil.rmtree(constants.HF_HUB_CACHE)
    assert steps("foreign", None) == ([], path)


def test_another_card_makes_another_conversion(hub):
    convert = Converter()
    _, first = steps("foreign", convert)
    Path("weights.toml").write_text(TABLES.replace("few", "many"))
    assert glance("foreign") == "to convert"
    events, second = steps("foreign", convert)
    assert first != second and convert.calls == 2
    assert [type(event) for event in events] == [Importing]
    assert conversions(read_registry()["foreign"]) == sorted([first, second])


def test_a_damaged_conversion_is_made_again(hub):
    convert = Converter()
    _, path = steps("foreign", convert)
    path.write_bytes(b"?")
    with pytest.raises(ModelError, match="is not downloaded"):
        finish(locating("foreign", convert=None))
    _, path = steps("foreign", convert)
    assert path.read_bytes() == BODY and convert.calls == 2


@pytest.mark.parametrize("fault", [ModelError("no", hint="no"), KeyboardInterrupt(), OSError(28, "full")], ids=repr)
def test_a_conversion_that_fails_leaves_nothing(hub, fault):
    with pytest.raises((ModelError, KeyboardInterrupt)):
        finish(locating("foreign", convert=Converter(fault)))
    folder = Path("home/cache/imported")
    assert not list(folder.iterdir())
    assert glance("foreign") == "to convert"
    assert steps("foreign", Converter())[1].exists()


@pytest.mark.parametrize("reference", ["org/repo:other.pt", "mine.pt"])
def test_a_file_without_a_card_and_without_a_table_is_refused_at_once(hub, reference):
    Path("mine.pt").touch()
    with pytest.raises(ModelError, match="weights without a card") as caught:
        finish(locating(reference, convert=Converter()))
    assert f"ddbm weights import {reference} --like" in caught.value.hint
    assert not hub.requests


def test_local_files_are_used_as_they_are(hub, tmp_path):
    assert steps("tiny.safetensors", None) == ([], Path("tiny.safetensors"))
    assert steps(tmp_path / "tiny.safetensors", None) == ([], tmp_path / "tiny.safetensors")
    assert not hub.requests
