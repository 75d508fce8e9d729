"""Files of a hub: what comes is right or is not used, and what has come is not lost."""

import os
import random
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.registry import HubFile, HubRepo, cache, records, transfer
from ddbm_cli.registry import hub as registry
from tests.hub import answers, cut, slow, wrong_bytes

NAME = "org/repo"
FILE = HubFile(NAME, "folder/model.safetensors", fixed=True)
BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)


@pytest.fixture
def commit(hub, monkeypatch):
    monkeypatch.setattr(transfer, "REPORT_EVERY", 50_000)
    return hub.add(NAME, {FILE.file: BODY})


def pull(file=FILE, **options):
    """Return the record and the events of a pull."""
    events = []
    steps = registry.pull(file, **options)
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            return stop.value, events


def cache_folder():
    return Path(constants.HF_HUB_CACHE)


def blobs():
    return sorted(path.name for path in cache_folder().glob("models--*/blobs/*"))


def test_a_file_is_downloaded_into_the_cache_of_the_hub(hub, commit):
    record, events = pull()
    assert Path(record.path).read_bytes() == BODY
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert (events[-1].done, events[-1].total) == (len(BODY), len(BODY))
    assert record.commit == commit and record.sha256 == record.etag
    assert hf_hub_download(NAME, FILE.file, local_files_only=True) == record.path
    assert hf_hub_download(NAME, FILE.file, revision=commit, local_files_only=True) == record.path
    assert not scan_cache_dir(cache_folder()).warnings


def test_the_token_does_not_leave_the_hub(hub, commit, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull()
    assert {each.token for each in hub.requests if each.host == "127.0.0.1"} == {"Bearer hf_secret"}
    assert [each.token for each in hub.requests if each.host == "localhost"] == [""]


@pytest.mark.parametrize("by", ["entry", "commit"])
def test_a_fixed_file_that_is_downloaded_needs_no_request(hub, commit, by):
    file = FILE if by == "entry" else HubFile(NAME, FILE.file, commit, fixed=True)
    first, _ = pull(file)
    hub.requests.clear()
    assert pull(file) == (first, [])
    assert not hub.requests


def test_a_branch_is_asked_about_and_followed(hub, commit):
    file = HubFile(NAME, FILE.file)
    pull(file)
    hub.requests.clear()
    pull(file)
    assert [each.method for each in hub.requests] == ["HEAD"]
    hub.add(NAME, {FILE.file: OTHER})
    assert Path(pull(file)[0].path).read_bytes() == OTHER


@pytest.mark.parametrize("trouble", ["offline", "down", "gone"])
def test_a_downloaded_branch_is_used_without_the_hub(hub, commit, monkeypatch, trouble):
    file = HubFile(NAME, FILE.file)
    record, _ = pull(file)
    if trouble == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif trouble == "down":
        hub.faults += [answers(503, "HEAD")] * 9
    else:
        hub.__exit__()
    assert pull(file) == (record, [])


def test_an_interrupted_download_resumes(hub, commit):
    hub.faults += [cut(100_000), cut(50_000)]
    record, _ = pull()
    assert Path(record.path).read_bytes() == BODY
    assert sum(each.sent for each in hub.downloads()) == len(BODY)


def test_a_stopped_download_resumes_in_another_process(hub, commit):
    steps = registry.pull(FILE)
    next(steps), next(steps)
    steps.close()
    had = sum(path.stat().st_size for path in cache_folder().rglob("*.incomplete"))
    assert 0 < had < len(BODY)
    hub.requests.clear()
    pull()
    assert [(each.first, each.sent) for each in hub.downloads()] == [(had, len(BODY) - had)]


def test_a_server_without_ranges_begins_again(hub, commit):
    hub.ranges = False
    hub.faults.append(cut(100_000))
    assert Path(pull()[0].path).read_bytes() == BODY


@pytest.mark.parametrize("fault", [answers(503, "HEAD"), answers(503), answers(429), slow(0.1), wrong_bytes()], ids=str)
def test_a_passing_trouble_passes(hub, commit, fault):
    hub.faults.append(fault)
    assert Path(pull()[0].path).read_bytes() == BODY


def test_wrong_bytes_are_never_used(hub, commit):
    hub.faults += [wrong_bytes()] * 2
    with pytest.raises(ModelError, match="wrong bytes") as caught:
        pull()
    assert caught.value.exit_code == 4
    assert not blobs() and cache.cached(FILE) is None
    assert Path(pull()[0].path).read_bytes() == BODY


def test_wrong_bytes_after_right_ones_begin_again(hub, commit):
    hub.faults += [cut(100_000), wrong_bytes()]
    assert Path(pull()[0].path).read_bytes() == BODY
    assert [each.first for each in hub.downloads()] == [0, 100_000, 0]


def test_a_damaged_file_in_the_cache_is_not_used_and_downloaded_again(hub, commit):
    path = Path(pull()[0].path)
    with path.open("r+b") as file:
        file.write(b"?")
    assert cache.cached(FILE) is None
    assert path.exists()  # until there is a good one
    assert Path(pull()[0].path).read_bytes() == BODY


def test_a_digest_is_computed_once(hub, commit, monkeypatch):
    record, _ = pull()
    monkeypatch.setattr(records, "sha256_of_file", lambda path: pytest.fail("computed again"))
    assert cache.cached(FILE) == record


def test_a_file_that_another_tool_downloaded_is_used_after_a_check(hub, commit):
    path = hf_hub_download(NAME, FILE.file)
    hub.requests.clear()
    record, events = pull()
    assert (record.path, events, hub.requests) == (path, [], [])


def test_a_bad_file_that_another_tool_left_is_not_taken(hub, commit):
    hub.faults.append(wrong_bytes())
    path = Path(hf_hub_download(NAME, FILE.file))
    assert path.read_bytes() != BODY  # the library does not look
    assert Path(pull()[0].path).read_bytes() == BODY


def test_another_file_than_the_first_download_is_refused(hub, commit):
    pull()
    cache.remove(FILE)
    hub.add(NAME, {FILE.file: OTHER})
    hub.requests.clear()
    with pytest.raises(ModelError, match="has changed since the first download") as caught:
        pull()
    assert "--accept-change" in caught.value.hint
    assert not hub.downloads()
    assert Path(pull(accept_change=True)[0].path).read_bytes() == OTHER
    assert cache.cached(FILE) is not None


def test_an_etag_that_is_no_digest_is_held_against_the_first_download(hub):
    hub.etag_of[FILE.file] = "v1"
    hub.add(NAME, {FILE.file: BODY})
    pull()
    cache.remove(FILE)
    hub.add(NAME, {FILE.file: OTHER})
    with pytest.raises(ModelError, match="first download"):
        pull()
    assert not blobs() and cache.cached(FILE) is None


def test_a_file_without_the_digest_of_the_registry_is_refused(hub, commit):
    file = HubFile(NAME, FILE.file, sha256="0" * 64, fixed=True)
    with pytest.raises(ModelError, match="does not have the sha256 of the registry"):
        pull(file)
    assert not hub.downloads()


def test_removing_frees_the_bytes(hub, commit):
    pull()
    assert cache.remove(FILE) == len(BODY)
    assert not blobs() and not list(cache_folder().glob("models--*/snapshots/*/*/*"))
    assert cache.remove(FILE) == 0


def test_small_files_have_gits_digest(hub):
    hub.add(NAME, {"small.safetensors": b"abc"})
    file = HubFile(NAME, "small.safetensors", fixed=True)
    record, _ = pull(file)
    assert Path(record.path).read_bytes() == b"abc"
    assert len(record.etag) == 40


def test_a_folder_without_links_holds_the_file_itself(hub, commit, monkeypatch):
    def refuse(*given):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    record, _ = pull()
    assert Path(record.path).read_bytes() == BODY and not Path(record.path).is_symlink()
    assert cache.cached(FILE) == record


CASES = {
    "no repository": (
        HubFile("org/none", "m.safetensors"),
        {},
        "no repository 'org/none', or it is private",
        "HF_TOKEN",
    ),
    "no file": (HubFile(NAME, "none.safetensors"), {}, "no such file", "tree/main"),
    "no revision": (HubFile(NAME, FILE.file, "v9"), {}, "no such revision", "@revision"),
    "private": (FILE, {"private": True}, "or it is private", "HF_TOKEN"),
    "gated": (FILE, {"gated": True}, "a gated repository", "request access at"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_hub_does_not_give_is_explained(hub, name):
    file, kind, message, hint = CASES[name]
    hub.add(NAME, {FILE.file: BODY}, **kind)
    with pytest.raises(ModelError, match=message) as caught:
        pull(file)
    assert hint in caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize(("status", "message"), [(401, "token"), (403, "token"), (500, "answers 500"), (418, "418")])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_answers_are_explained(hub, commit, status, message, method, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_stale")
    headers = {"X_Error_Message": "Invalid credentials in Authorization header"} if status == 401 else {}
    hub.faults += [answers(status, method, **headers) for _ in range(20)]
    with pytest.raises(ModelError, match=message):
        pull()


def test_no_network_and_offline_are_explained(hub, commit, monkeypatch):
    hub.__exit__()
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        pull()
    assert "HF_ENDPOINT" in caught.value.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        pull()


def test_a_full_disk_is_seen_before_the_download(hub, commit, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ModelError, match=r"300,000 bytes to download, but 1,000 are free"):
        pull()
    assert not hub.downloads()


def test_a_disk_that_fills_up_loses_nothing(hub, commit, monkeypatch):
    real = transfer._append

    def fills_up(url, partial, size):
        for count, done in enumerate(real(url, partial, size)):
            yield done
            if count == 0:
                raise OSError(28, os.strerror(28))

    monkeypatch.setattr(transfer, "_append", fills_up)
    with pytest.raises(ModelError, match="the disk is full") as caught:
        pull()
    assert "HF_HOME" in caught.value.hint
    monkeypatch.setattr(transfer, "_append", real)
    hub.requests.clear()
    pull()
    assert hub.downloads()[0].first > 0


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/../b", "a\\..\\b", ""])
def test_paths_out_of_a_repository_are_refused(hub, path):
    with pytest.raises(UsageError):
        pull(HubFile(NAME, path))
    with pytest.raises(UsageError):
        pull(HubFile(NAME, "m.safetensors", path))


def test_a_repository_with_an_impossible_name_is_refused(hub):
    with pytest.raises(ModelError, match="not the name of a repository"):
        pull(HubFile("a--b/c", "m.safetensors"))


@pytest.mark.parametrize("etag", ["../../../evil", ".hidden", ""])
def test_a_server_does_not_choose_the_place_of_files(hub, etag):
    hub.etag_of[FILE.file] = etag
    hub.add(NAME, {FILE.file: BODY})
    with pytest.raises(ModelError, match="does not answer like the hub"):
        pull()


def test_the_model_file_of_a_repository(hub):
    hub.add(NAME, {"README.md": b"", "a.safetensors": BODY})
    assert registry.model_file(HubRepo(NAME)).file == "a.safetensors"
    hub.add(NAME, {"model.safetensors": BODY, "a.safetensors": BODY})
    assert registry.model_file(HubRepo(NAME)).file == "model.safetensors"
    hub.add(NAME, {"b.safetensors": BODY, "a.safetensors": BODY})
    with pytest.raises(ModelError, match="2 model files") as caught:
        registry.model_file(HubRepo(NAME))
    assert "a.safetensors" in caught.value.hint
    hub.add(NAME, {"x.pt": BODY})
    with pytest.raises(ModelError, match=r"no \.safetensors file"):
        registry.model_file(HubRepo(NAME))
