"""Edits by an endpoint: what is asked, which answers are used, and that no other one does harm."""

import json
from threading import Event

import pytest

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.tasks.instruct import endpoint
from ddbm_cli.tasks.instruct.captions import Caption, CaptionError
from ddbm_cli.tasks.instruct.endpoint import Endpoint
from tests.tasks.chat import Chat, said

CAT = Caption("a cat", split="train")
RED = Caption("a cat", "make it red", "a red cat", "train")


@pytest.fixture
def chat(monkeypatch):
    waits = []
    monkeypatch.setattr("ddbm_cli.tasks.instruct.endpoint.time.sleep", waits.append)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # loopback is reached without it
    with Chat() as server:
        server.waits = waits
        yield server


def edited(chat, **given):
    return Endpoint(chat.url, "tiny", **given).edited(CAT)


def test_a_standard_chat_completion_is_asked(chat):
    assert edited(chat, key="secret") == RED
    ((path, body, headers),) = chat.asked
    assert path == "/v1/chat/completions" and body["model"] == "tiny" and headers["Authorization"] == "Bearer secret"
    assert body["messages"][0]["role"] == "system" and body["messages"][-1] == {"role": "user", "content": "a cat"}
    assert set(body) == {"model", "messages", "temperature"}
    edited(chat)
    assert "Authorization" not in chat.asked[1][2]
    assert "secret" not in repr(Endpoint(chat.url, "tiny", "secret"))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_that_may_end_are_repeated_after_a_while(chat, status):
    chat.answers += [(status, {}, b""), (status, {"Retry-After": "9"}, b""), (status, {"Retry-After": "9999"}, b"")]
    assert edited(chat) == RED and chat.waits == [1.0, 9.0, 60.0]


NO_EDITS = {
    "none": "I cannot do that.",
    "unchanged": '{"edit": "keep it", "output": "A CAT"}',
    "control": json.dumps({"edit": "make it \x1b[31mred", "output": "a red cat"}),
    "surrogate": '{"edit": "make it red", "output": "\\ud800"}',
    "long": json.dumps({"edit": "make it red", "output": "red " * 200}),
    "other": '{"edit": ["make it red"], "output": 3}',
    "missing": '{"edit": "make it red"}',
    "deep": '{"edit": ' + "[" * 100_000 + "}",
}


@pytest.mark.parametrize("name", NO_EDITS)
def test_texts_that_are_no_edit_are_asked_for_again_and_then_reported(chat, name):
    chat.answers += [said(NO_EDITS[name])] * 2
    assert edited(chat) == RED and len(chat.asked) == 3
    chat.answers += [said(NO_EDITS[name])] * 4
    with pytest.raises(CaptionError, match="'a cat': no usable edit from tiny"):
        edited(chat)


HOSTILE = {
    "huge": ((200, {}, b"x" * (2**20 + 9)), "more than 1,048,576 bytes"),
    "endless": ((200, {"Content-Length": str(2**40)}, b"x" * (2**20 + 9)), "more than 1,048,576 bytes"),
    "html": ((200, {}, b"<html>\x1b[2J</html>"), "not JSON"),
    "bytes": ((200, {}, b"\xff\xfe\x00\x1b\x07"), "not JSON"),
    "list": ((200, {}, b"[1]"), "no chat completion"),
    "empty": ((200, {}, b'{"choices": []}'), "no chat completion"),
    "number": ((200, {}, b'{"choices": [{"message": {"content": 7}}]}'), "no chat completion"),
    "deep": ((200, {}, b"[" * 100_000), "not JSON"),
    "file": ((302, {"Location": "file:///etc/passwd"}, b""), "redirects are not followed"),
    "elsewhere": ((307, {"Location": "http://127.0.0.1:1/v1"}, b""), "redirects are not followed"),
    "refused": ((401, {}, b"\x1b[2J" * 99), "the key is missing or refused"),
    "unknown": ((404, {}, b"x"), "HTTP status 404"),
    "broken": ((500, {}, b"x" * 99), "HTTP status 500"),
    "cut": ((200, {"Content-Length": "99"}, b"{"), "127.0.0.1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_end_in_two_lines(chat, name, tmp_path, ddbm, monkeypatch):
    answer, reason = HOSTILE[name]
    monkeypatch.setattr("ddbm_cli.tasks.instruct.candidates.Studio.checking", lambda request: iter(()))
    chat.answers += [answer] * 4
    (tmp_path / "captions.txt").write_text("a cat\n")
    where = ("data", "instruct", tmp_path / "captions.txt", tmp_path / "out", "-m", f"diffusers:{tmp_path}")
    code, out, err = ddbm(*where, "--endpoint", chat.url, "--endpoint-model", "tiny", "-q")
    lines = err.splitlines()
    assert code == 4 and out == b"" and len(lines) == 2 and reason in lines[0] and "Hint: " in lines[1], err
    assert err.replace("\n", "").isprintable() and chat.url in err


def test_an_answer_has_a_limit_of_time(chat, monkeypatch):
    monkeypatch.setattr(endpoint, "LONGEST", 0.05)
    monkeypatch.setattr(endpoint, "WAITS", ())
    monkeypatch.setattr(
        Endpoint, "_request", lambda self, body: Event().wait(0.3)
    )  # bytes come, but never the last one
    with pytest.raises(ModelError, match=r"no complete answer in 0.05 seconds"):
        edited(chat)


def test_an_endpoint_that_is_not_there(chat, monkeypatch):
    gone = Endpoint("http://127.0.0.1:9/v1", "tiny")
    with pytest.raises(ModelError, match=r"http://127.0.0.1:9/v1: .*refused"):
        gone.edited(CAT)
    assert chat.waits == [1.0, 4.0, 16.0]
