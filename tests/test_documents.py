"""Text, TOML, JSON and CSV files of other programs: any byte order mark, limits, and errors in one line."""

import json
import os

import pytest

from ddbm_cli.foundation.documents import decode, parse_json, parse_table, parse_toml, read_json, read_table, read_toml
from ddbm_cli.foundation.errors import ModelError, UsageError

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_of_any_byte_order_mark_are_read(tmp_path, encoding):
    """As Notepad and PowerShell write them."""
    (tmp_path / "a.toml").write_text('name = "é日"\nsize = 16\n', encoding=encoding)
    assert read_toml(tmp_path / "a.toml", hint="") == {"name": "é日", "size": 16}
    (tmp_path / "a.json").write_text('{"name": "é日"}', encoding=encoding)
    assert read_json(tmp_path / "a.json", hint="") == {"name": "é日"}
    for delimiter in ",;\t":
        text = delimiter.join(["file", "split"]) + "\r\n" + delimiter.join(["é日.png", "train"]) + "\r\n"
        (tmp_path / "a.csv").write_text(text, encoding=encoding)
        assert read_table(tmp_path / "a.csv", hint="") == [{"file": "é日.png", "split": "train"}]


def test_no_locale_matters(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *given: "ascii")
    (tmp_path / "a.toml").write_bytes('name = "é"'.encode())
    assert read_toml(tmp_path / "a.toml", hint="")["name"] == "é"


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("latin.toml", b'a = 1\nname = "\xe9"', "not UTF-8 text, line 2"),
        ("broken.toml", b"[", "not readable"),
        ("deep.toml", b"a = " + b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        ("long.toml", b"#" * 2000, "longer than 1000 bytes"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, body, words):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(UsageError, match=words) as error:
        read_toml(tmp_path / name, hint="mend it", limit=1000 if "long" in name else 2**20)
    assert "\n" not in error.value.message and name in error.value.message and error.value.hint == "mend it"


def test_deep_json_is_refused():
    with pytest.raises(ValueError, match="too deep"):
        parse_json("[" * 200_000 + "]" * 200_000)
    with pytest.raises(ValueError):
        parse_json("9" * 10_000)


def test_missing_files_folders_and_pipes_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "pipe.json", tmp_path / ("x" * 300)):
        with pytest.raises(ModelError, match="not readable"):
            read_json(path, hint="", error=ModelError)


def test_values_are_plain():
    assert parse_toml("a = 1") == {"a": 1} and json.loads("1") == parse_json("1") and decode(b"") == ""
    assert parse_table("a,b\n1\n") == [{"a": "1", "b": ""}] and parse_table("") == []
