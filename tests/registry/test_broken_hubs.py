"""Answers that are not those of a hub, byte by byte: each ends within seconds, with one line and no file."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from ddbm_cli.foundation.errors import DdbmError, ModelError
from ddbm_cli.registry import HubFile, HubRepo, cache, transfer
from ddbm_cli.registry import hub as registry
from ddbm_cli.registry.locate import finish
from tests.hub import raw

BODY = bytes(range(256)) * 200
FILE = HubFile("org/repo", "model.safetensors", fixed=True)
COMMIT = b"X-Repo-Commit: " + b"a" * 40 + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def linked(size: bytes, etag: bytes = b"b" * 64) -> bytes:
    """The headers of a file that is in no other store."""
    return OK + COMMIT + b'ETag: "' + etag + b'"\r\nX-Linked-Size: ' + size + b"\r\nContent-Length: 0\r\n\r\n"


ANSWERS = {
    "nothing": (b"",),
    "words": (b"hello\r\n\r\n",),
    "binary": (bytes(range(256)) * 9,),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n",),
    "tls": (b"\x15\x03\x01\x00\x02\x02\x46",),
    "status only": (b"HTTP/1.1 200",),
    "status in words": (b"HTTP/1.1 fine OK\r\n\r\n",),
    "status 999": (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",),
    "status 99": (b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n",),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n",),
    "redirect to itself": (b"HTTP/1.1 302 Found\r\nLocation: ?\r\nContent-Length: 0\r\n\r\n",),
    "redirect without a place": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",),
    "redirect to a file": (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",),
    "redirect to no port": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",),
    "redirect to no host": (b"HTTP/1.1 302 Found\r\nLocation: http://nowhere.invalid/\r\nContent-Length: 0\r\n\r\n",),
    "redirect to TLS": (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",),
    "redirect to an odd port": (b"HTTP/1.1 302 Found\r\nLocation: http://a:99999/\r\nContent-Length: 0\r\n\r\n",),
    "redirect in bytes": (b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\x80\r\nContent-Length: 0\r\n\r\n",),
    "long header": (OK + b"A: " + b"a" * 200_000 + b"\r\n\r\n",),
    "many headers": (OK + b"".join(b"A%d: a\r\n" % index for index in range(20_000)) + b"\r\n",),
    "header without a name": (OK + b": a\r\n\r\n",),
    "escape in a header": (OK + b"ETag: \x1b[31m\r\nContent-Length: 0\r\n\r\n",),
    "negative length": (OK + b"Content-Length: -5\r\n\r\n",),
    "length in words": (OK + b"Content-Length: many\r\n\r\n",),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nabcde",),
    "short body": (OK + b"Content-Length: 50000\r\n\r\nabc",),
    "chunks without size": (OK + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n",),
    "chunk of negative size": (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",),
    "chunk of huge size": (OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc\r\n",),
    "chunk cut off": (OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\nabc",),
    "unknown transfer": (OK + b"Transfer-Encoding: magic\r\n\r\nabc",),
    "compressed by nothing": (OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",),
    "part of another place": (b"HTTP/1.1 206 Part\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\nabc",),
    "no commit": (OK + b'ETag: "abc"\r\nContent-Length: 0\r\n\r\n',),
    "commit outside": (OK + b'X-Repo-Commit: ../../x\r\nETag: "abc"\r\nContent-Length: 0\r\n\r\n',),
    "etag outside": (linked(b"5", b"../../x"),),
    "size in words": (linked(b"many"),),
    "negative size": (linked(b"-5"),),
    "size of no disk": (linked(b"1" + b"0" * 30),),
    "size of nothing": (linked(b"0"),),
}
SLOW = {
    "header": tuple(OK[index : index + 1] for index in range(len(OK))) + (b"A: ",) + (b"a",) * 1000,
    "informational answers": (b"HTTP/1.1 100 Continue\r\n\r\n",) * 1000,
    "chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\n5;", *((b"a",) * 1000)),
    "body": (OK + b"Content-Length: 90000\r\n\r\n", *((b"a",) * 1000)),
}


@pytest.fixture(autouse=True)
def world(hub, monkeypatch):
    monkeypatch.setattr(transfer, "STALLED", 0.5)
    monkeypatch.setattr(transfer, "LONGEST_ANSWER", 2.0)
    hub.add(FILE.repo, {FILE.file: BODY})
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 20


def pulled():
    return Path(finish(registry.pull(FILE)).path).read_bytes()


def refused(call):
    """Check that a call ends with one line and a hint."""
    with pytest.raises(DdbmError) as caught:
        call()
    assert caught.value.hint and "\n" not in caught.value.message and len(caught.value.message) < 400
    return caught.value.message


@pytest.mark.parametrize("method", ["HEAD", "GET", "API"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_wrong_answer_is_refused_and_the_next_pull_succeeds(hub, name, method):
    hub.faults += [raw(method, *ANSWERS[name])] * 90
    refused((lambda: registry.model_file(HubRepo(FILE.repo))) if method == "API" else pulled)
    assert cache.cached(FILE) is None
    hub.faults.clear()
    assert pulled() == BODY


@pytest.mark.parametrize("method", ["HEAD", "GET", "API"])
@pytest.mark.parametrize("name", SLOW)
def test_an_answer_that_never_ends_is_given_up(hub, name, method):
    if (name, method) in (("chunk size", "HEAD"), ("body", "HEAD")):
        pytest.skip("an answer to HEAD has no body")
    hub.faults += [raw(method, *SLOW[name], seconds=0.1)] * 9
    refused((lambda: registry.model_file(HubRepo(FILE.repo))) if method == "API" else pulled)
    hub.faults.clear()
    assert pulled() == BODY


def test_crumbs_are_given_up(hub, monkeypatch):
    """Ten bytes for each request would take for ever."""
    monkeypatch.setattr(hub, "ranges", True)
    size = len(BODY)
    for index in range(20):
        part = BODY[10 * index : 10 * index + 10]
        head = b"HTTP/1.1 206 Part\r\nContent-Range: bytes %d-%d/%d\r\n" % (10 * index, 10 * index + 9, size)
        hub.faults.append(raw("GET", head + b"Content-Length: 10\r\n\r\n" + part))
    refused(pulled)
    assert len(hub.downloads()) < 10
    hub.faults.clear()
    assert pulled() == BODY


def test_a_file_of_no_bytes_is_downloaded(hub):
    hub.add(FILE.repo, {FILE.file: b""})
    assert pulled() == b""


def test_a_file_that_changes_during_its_download_is_refused(hub, monkeypatch):
    """The hub announces one file, and the store sends another of the same size."""
    hub.large = {name: bytes(len(body)) for name, body in hub.large.items()}
    assert "wrong bytes" in refused(pulled)
    assert cache.cached(FILE) is None and not list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def test_a_disk_that_fills_up_is_named_and_the_download_resumes(hub, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 0, 10**9))
    real = Path.open

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 20_000

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, chunk):
            self.file.write(chunk[: self.left])
            self.left -= len(chunk)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path, mode="r", *rest, **named):
        file = real(path, mode, *rest, **named)
        return Full(file) if path.suffix == ".incomplete" and mode in ("wb", "ab") else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        assert "disk is full" in refused(pulled)
    assert pulled() == BODY
    assert any(each.first for each in hub.downloads())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_cache_that_may_not_be_entered_or_written_is_named(hub, tmp_path):
    folder = Path(constants.HF_HUB_CACHE)
    folder.mkdir()
    for mode in (0o555, 0o000):
        folder.chmod(mode)
        try:
            assert "cannot be written" in refused(pulled)
        finally:
            folder.chmod(0o755)


@pytest.mark.parametrize("broken", ["refs", "snapshots", "blobs", ".locks"])
def test_a_damaged_cache_is_explained(hub, broken):
    """A file in place of a folder."""
    folder = Path(constants.HF_HUB_CACHE) / "models--org--repo"
    place = folder.parent / broken if broken == ".locks" else folder / broken
    place.parent.mkdir(parents=True)
    place.write_bytes(b"\xff")
    try:
        pulled()
    except ModelError as error:
        assert error.hint and "\n" not in error.message
    assert cache.model_file(HubRepo(FILE.repo)) is None or broken == "refs"
    assert place.read_bytes() == b"\xff"


@pytest.mark.parametrize("text", [b"\xff\xfe", b"../../..", b"a" * 5000, b""])
def test_a_damaged_reference_of_the_cache_is_ignored(hub, text):
    refs = Path(constants.HF_HUB_CACHE) / "models--org--repo" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_bytes(text)
    assert cache.model_file(HubRepo(FILE.repo)) is None
    assert pulled() == BODY


def test_two_pulls_at_once_download_once(hub):
    found: list[object] = []

    def one():
        try:
            found.append(pulled())
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert found == [BODY] * 4
    assert len(hub.downloads()) == 1
