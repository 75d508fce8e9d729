"""What a server sends without end, too slowly, or in place of what was asked: a message, within limits."""

import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import constants

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.registry import HubFile, HubRepo, parse, transfer
from ddbm_cli.registry import hub as registry
from ddbm_cli.registry.events import Noticed
from ddbm_cli.registry.locate import finish
from tests.hub import answers, cut, dripping, endless, stalled

BODY = bytes(range(256)) * 200
FILE = HubFile("org/repo", "model.safetensors", fixed=True)


@pytest.fixture(autouse=True)
def world(hub, monkeypatch):
    monkeypatch.setattr(transfer, "STALLED", 0.5)
    hub.add(FILE.repo, {FILE.file: BODY})
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20


def partials():
    return list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def interrupted(hub):
    """Leave a part of the file in the cache."""
    hub.faults += [cut(20_000), *[cut(0)] * 9]
    with pytest.raises(ModelError):
        finish(registry.pull(FILE))
    hub.faults.clear()
    (partial,) = partials()
    return partial


def test_a_kept_part_that_the_server_refuses_is_downloaded_again(hub):
    interrupted(hub)
    hub.faults.append(answers(416))
    assert Path(finish(registry.pull(FILE)).path).read_bytes() == BODY


def test_a_server_that_always_answers_416_ends_with_a_message(hub):
    interrupted(hub)
    hub.faults += [answers(416)] * 9
    with pytest.raises(ModelError, match="416"):
        finish(registry.pull(FILE))


def test_a_part_of_the_wrong_place_is_not_appended(hub, monkeypatch):
    interrupted(hub)
    monkeypatch.setattr(transfer, "_begins_at", lambda response, first: False)
    hub.ranges = False
    assert Path(finish(registry.pull(FILE)).path).read_bytes() == BODY


def test_an_endless_body_is_cut_at_the_announced_size(hub):
    hub.faults += [endless()] * 9
    with pytest.raises(ModelError, match="wrong bytes"):
        finish(registry.pull(FILE))
    assert not partials()


def test_an_endless_body_of_unknown_size_is_cut(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST_UNKNOWN", 10**6)
    hub.faults += [endless()] * 9
    url = f"{hub.endpoint}/org/repo/resolve/main/{FILE.file}"
    with pytest.raises(ConnectionError, match="more than 1,000,000 bytes"):
        list(transfer.download(url, tmp_path / "partial", None))
    assert not (tmp_path / "partial").exists()


@pytest.mark.parametrize("fault", [stalled(1000, 5), stalled(0, 5), dripping(5)], ids=lambda fault: fault.name)
def test_a_stalled_body_ends_and_resumes(hub, fault):
    hub.faults += [fault] * 9
    with pytest.raises(ModelError) as caught:
        finish(registry.pull(FILE))
    assert "repeat the command" in caught.value.hint
    hub.faults.clear()
    assert Path(finish(registry.pull(FILE)).path).read_bytes() == BODY


def test_a_body_that_stalls_once_is_resumed(hub):
    hub.faults.append(stalled(20_000, 5))
    assert Path(finish(registry.pull(FILE)).path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<!DOCTYPE html><html>log in</html>", "web page"),
        (b"ok", "instead of JSON"),
        (b"[" * 100_000, "instead of JSON"),
        (b"[1, 2]", "another kind of JSON"),
        (b"{}", "without a list of files"),
        (b'{"siblings": [3, {"rfilename": 4}]}', "no .safetensors file"),
        (b'{"a": "' + bytes(2**25), "more than"),
    ],
    ids=["page", "words", "deep", "list", "empty", "types", "large"],
)
def test_what_is_not_the_hubs_json_is_explained(hub, answer, words):
    hub.api = answer
    with pytest.raises(ModelError, match=words) as caught:
        registry.model_file(HubRepo("org/repo"))
    assert caught.value.hint and caught.value.exit_code == 4


@pytest.mark.parametrize("status", [301, 302, 400, 404, 418, 500])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_odd_answers_are_explained(hub, status, method):
    hub.faults += [answers(status, method, Location="http://[")] * 9
    with pytest.raises(ModelError) as caught:
        finish(registry.pull(FILE))
    assert caught.value.hint


def test_a_web_page_in_place_of_a_file_is_named(hub):
    page = b"<!DOCTYPE html><html>" + b"x" * (len(BODY) - 21)
    hub.large = dict.fromkeys(hub.large, page)
    with pytest.raises(ModelError, match="web page"):
        finish(registry.pull(FILE))


@pytest.mark.parametrize("text", ["runs/mien", "runs/mien/best.safetensors", "pictures/mine"])
def test_a_misspelt_local_path_is_answered_without_the_network(hub, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ModelError, match="no such model file or folder") as caught:
        parse(text)
    assert "hf://" in caught.value.hint or "list" in caught.value.hint
    assert text != "runs/mien" or "did you mean runs/mine" in caught.value.hint
    assert not hub.requests


def test_waiting_for_a_lock_is_reported(hub):
    (etag,) = hub.large
    folder = Path(constants.HF_HUB_CACHE) / ".locks" / "models--org--repo"
    folder.mkdir(parents=True)
    lock = FileLock(folder / f"{etag}.lock", thread_local=False)
    lock.acquire()
    threading.Timer(1.0, lock.release, kwargs={"force": True}).start()
    steps = registry.pull(FILE)
    first = next(steps)
    assert isinstance(first, Noticed) and "waiting for another process" in first.message
    assert Path(finish(steps).path).read_bytes() == BODY
