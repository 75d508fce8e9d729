"""A folder goes to the hub as it is, to a private repository unless it is said otherwise."""

import random

import pytest
from huggingface_hub import constants

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.registry import HubFile
from ddbm_cli.registry import hub as registry
from ddbm_cli.registry.locate import finish
from ddbm_cli.registry.upload import upload

BODY = random.Random(0).randbytes(100_000)


@pytest.fixture
def folder(tmp_path, hub):
    root = tmp_path / "out"
    (root / "unet").mkdir(parents=True)
    (root / "README.md").write_text("---\nlicense: mit\n---\n# A bridge\n")
    (root / "model.safetensors").write_bytes(BODY)
    (root / "unet" / "config.json").write_text("{}")
    (root / ".secret").write_text("no")
    return root


FILES = {"README.md", "model.safetensors", "unet/config.json"}


def test_a_dry_run_asks_nobody(hub, folder):
    done = upload(folder, "me/bridge", dry_run=True)
    assert set(done.files) == FILES and done.files["model.safetensors"] == len(BODY)
    assert done.url == f"{hub.endpoint}/me/bridge"
    assert not hub.requests


@pytest.mark.parametrize("private", [True, False])
def test_all_files_go(hub, folder, monkeypatch, private):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    done = upload(folder, "me/bridge", private=private)
    assert set(done.files) == FILES == set(hub.repos["me/bridge"].files)
    assert hub.repos["me/bridge"].files["model.safetensors"] == BODY
    assert hub.repos["me/bridge"].private is private
    assert "/me/bridge/commit/" in done.url
    record = finish(registry.pull(HubFile("me/bridge", "model.safetensors")))
    assert record.size == len(BODY)


def test_a_second_upload_goes_to_the_same_repository(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    upload(folder, "me/bridge")
    (folder / "unet" / "config.json").write_text("[]")
    upload(folder, "me/bridge", private=False)
    assert hub.repos["me/bridge"].files["unet/config.json"] == b"[]"
    assert hub.repos["me/bridge"].private


def test_what_goes_wrong_is_explained(hub, folder, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="uploads need a token") as caught:
        upload(folder, "me/bridge")
    assert "HF_TOKEN" in caught.value.hint
    with pytest.raises(UsageError, match="no files"):
        upload(tmp_path / "nothing", "me/bridge")
    with pytest.raises(ModelError, match="not the name of a repository"):
        upload(folder, "a/b/c")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        upload(folder, "me/bridge")
