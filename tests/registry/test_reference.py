"""What may stand after -m, and what is said of what may not."""

from pathlib import Path

import pytest

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry import HubFile, HubRepo, parse, read_registry
from ddbm_cli.registry.reference import short_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"

HUB = {
    "org/repo": HubRepo("org/repo"),
    "org/repo@v1": HubRepo("org/repo", "v1"),
    "org/repo:a/b.safetensors": HubFile("org/repo", "a/b.safetensors"),
    "org/repo@refs/pr/1:m.safetensors": HubFile("org/repo", "m.safetensors", "refs/pr/1"),
    f"org/repo@{COMMIT}:m.safetensors": HubFile("org/repo", "m.safetensors", COMMIT, fixed=True),
    "hf://org/repo": HubRepo("org/repo"),
    "hf://org/repo@v1": HubRepo("org/repo", "v1"),
    "hf://org/repo/a/b.safetensors": HubFile("org/repo", "a/b.safetensors"),
    "hf://org/repo@v1/m.safetensors": HubFile("org/repo", "m.safetensors", "v1"),
    "Org.1/re_po-2:m.pt": HubFile("Org.1/re_po-2", "m.pt"),
}


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", HUB)
def test_names_of_the_hub(text):
    assert parse(text) == HUB[text]


@pytest.mark.parametrize("file", [each for each in HUB.values() if isinstance(each, HubFile)], ids=str)
def test_a_file_of_the_hub_is_written_as_it_is_read(file):
    assert parse(str(file)) == file


def test_names_of_the_registry():
    entries = read_registry()
    assert parse("edges2handbags-vp-64") == entries["edges2handbags-vp-64"]
    assert parse("alexzhou907/DDBM:diode_ema_0.9999_440000.pt") == entries["diode-vp-256"]
    assert parse("hf://alexzhou907/DDBM/diode_ema_0.9999_440000.pt") == entries["diode-vp-256"]


def test_files_and_folders(empty):
    for name in ("one/a.safetensors", "main/model.safetensors", "main/best.safetensors", "org/repo/x.safetensors"):
        (empty / name).parent.mkdir(parents=True, exist_ok=True)
        (empty / name).touch()
    assert parse("one") == parse("one/") == parse("./one/a.safetensors") == Path("one/a.safetensors")
    assert parse("main") == Path("main/model.safetensors")
    assert parse("org/repo") == Path("org/repo/x.safetensors")  # the disk comes before the hub
    assert parse("hf://org/repo") == HubRepo("org/repo")


def test_a_registry_name_comes_before_a_folder(empty):
    (empty / "diode-vp-256").mkdir()
    (empty / "diode-vp-256" / "m.safetensors").touch()
    assert parse("diode-vp-256") == read_registry()["diode-vp-256"]
    assert parse("./diode-vp-256") == Path("diode-vp-256/m.safetensors")


WRONG = {
    "edges2handbag": ("no model 'edges2handbag'", "did you mean edges2handbags-vp-64?"),
    "zzzz": ("no model 'zzzz'", "list all names: ddbm weights list"),
    "none.safetensors": ("no such model file or folder", "weights list"),
    "runs/none.safetensors": ("no such model file or folder", "hf://runs/none.safetensors"),
    "./none": ("no such model file or folder", "check the path"),
    "/none/at/all": ("no such model file or folder", "weights list"),
    "~/none-at-all": ("no such model file or folder", "weights list"),
    "old.pt": ("no such model file or folder", "weights list"),
    "a/b/c": ("neither a local file nor a repository on the hub", "org/repo"),
    "hf://repo": ("neither a local file nor a repository on the hub", "org/repo"),
    "org/repo@": ("neither a local file nor a repository on the hub", "org/repo"),
    "": ("no model ''", "weights list"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_names_nothing_is_explained(text):
    message, hint = WRONG[text]
    with pytest.raises(ModelError, match=message) as caught:
        parse(text)
    assert hint in caught.value.hint and caught.value.exit_code == 4


def test_folders_without_one_model_are_explained(empty):
    (empty / "f").mkdir()
    with pytest.raises(ModelError, match=r"f: no \.safetensors file"):
        parse("./f")
    for name in ("a.safetensors", "b.safetensors"):
        (empty / "f" / name).touch()
    with pytest.raises(ModelError, match="2 model files") as caught:
        parse("./f")
    assert "a.safetensors, b.safetensors" in caught.value.hint


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("runs/mine/model.safetensors", "mine"),
        ("runs/mine/", "mine"),
        ("files/fox.safetensors", "fox.safetensors"),
        ("owner/repository", "repository"),
        ("sketch-to-3d-64", "sketch-to-3d-64"),
    ],
)
def test_a_card_names_a_model_without_folders_and_a_run_by_its_folder(reference, name):
    assert short_name(reference) == name


def test_the_file_of_a_run_in_the_working_folder_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert short_name("model.safetensors") == "mine"
