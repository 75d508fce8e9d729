"""JSON lines: every line that any command prints with --json fits the schema that is generated from the events."""

import json

import pytest
import typer

from ddbm_cli.cli import main as main_module
from ddbm_cli.cli import schema
from ddbm_cli.foundation.event_lines import EVENTS, TICKS
from tests.cli.test_main import commands
from tests.tiny import SMALLEST, picture, write_pairs, write_tiny

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def fits(value, wanted):
    """Return whether a value fits a schema of the kinds that `cli.schema` writes."""
    if "anyOf" in wanted:
        return any(fits(value, each) for each in wanted["anyOf"])
    if "const" in wanted or "enum" in wanted:
        return value in wanted.get("enum", [wanted.get("const")])
    names = wanted.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(_is(value, name) for name in names):
        return False
    if isinstance(value, list):
        return all(fits(each, wanted["items"]) for each in value)
    if isinstance(value, dict):
        known, more = wanted.get("properties", {}), wanted.get("additionalProperties", True)
        others = [each for key, each in value.items() if key not in known]
        return (
            all(key in value for key in wanted.get("required", ()))
            and all(fits(value[key], of) for key, of in known.items() if key in value)
            and (more is True or not others or (more is not False and all(fits(each, more) for each in others)))
        )
    return True


def _is(value, name):
    if name in ("number", "integer"):
        return isinstance(value, int if name == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(value, KINDS[name])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "in").mkdir()
    for index in range(2):
        picture(index, 24).save(tmp_path / "in" / f"{index}.png")
    (tmp_path / "in" / "broken.png").write_text("no image")
    write_tiny(tmp_path / "m.safetensors")
    write_pairs(tmp_path / "pairs", 8)
    return tmp_path


SEARCH = ["--images", "2", "--teacher", "8", "--sweeps", "0"]
TRANSLATE = ["translate", "in", "out", "-m", "m.safetensors"]
RUNS = [
    (TRANSLATE, {"planned", "batch_started", "written", "failed", "finished"}),
    ([*TRANSLATE, "--seed", "1"], {"planned", "kept", "failed", "finished"}),
    (["translate", "in", "dry", "-m", "m.safetensors", "--dry-run"], {"planned", "intended"}),
    (["translate", "in", "out", "-m", "none.safetensors"], {"error"}),
    (["translate", "none", "out"], {"error"}),
    (["sample", "in/0.png", "-n", "2", "-o", "draws", "-m", "m.safetensors"], {"written", "finished"}),
    (["compare", "in/0.png", "-m", "m.safetensors", "--with", "dbim:2", "-o", "c.html"], {"written", "finished"}),
    (["evaluate", "in", "in", "--metrics", "mse"], {"planned", "failed", "reported"}),
    (
        ["train", "pairs", "--size", "16", "--steps", "2", "-b", "2", "-o", "run", "--network", SMALLEST],
        {"planned", "stepped", "saved", "trained"},
    ),
    (["data", "edges", "in", "made", "--size", "16"], {"planned", "written", "failed", "finished"}),
    (["data", "instruct", "in", "edited", "--size", "16"], {"planned", "written", "failed", "finished"}),
    (["data", "check", "pairs"], {"planned", "diagnosed", "finished"}),
    (["data", "preview", "pairs", "--size", "16"], {"planned", "written", "finished"}),
    (["tune", "m.safetensors", "pairs", "--nfe", "2", "-o", "t.safetensors", *SEARCH], {"made", "tuned"}),
    (["draw", "--no-browser", "-m", "none.safetensors"], {"error"}),
    (["show", "m.safetensors"], {"shown"}),
    (["show", "out/0.png"], {"shown"}),
    (["show", "in/0.png"], {"error"}),
    (["doctor", "--device", "cpu"], {"diagnosed"}),
    (["weights", "list"], {"listed"}),
    (["weights", "info", "sketch-to-3d-64"], {"listed"}),
    (["weights", "info", "nothing"], {"error"}),
    (["weights", "pull", "sketch-to-3d-64"], {"pulled", "finished"}),
    (["weights", "pull", "sketch-to-3d-64", "--dry-run"], {"to_pull"}),
    (["weights", "verify", "sketch-to-3d-64", "--check"], {"verified", "self_checked", "finished"}),
    (["weights", "rm", "nothing", "-y"], {"error"}),
    (["weights", "import", "m.safetensors", "-o", "i.safetensors"], {"imported"}),
    (["weights", "export", "m.safetensors", "e.safetensors"], {"exported"}),
    (["weights", "push", "m.safetensors", "me/mine", "--dry-run"], {"uploaded"}),
]


def test_every_line_of_every_command_fits_the_schema(ddbm, place):
    lines_of = schema.schema()["$defs"]
    seen = set()
    for arguments, expected in RUNS:
        _, out, err = ddbm(*arguments, "--json")
        lines = [json.loads(line) for line in out.decode().splitlines()]
        names = {line["event"] for line in lines}
        assert expected <= names, (arguments, names, err)
        for line in lines:
            assert fits(line, lines_of[line["event"]]), (arguments, line)
        seen |= names
    assert {"planned", "written", "failed", "stepped", "reported", "diagnosed", "error"} <= seen


def test_no_command_with_json_is_left_out():
    found = commands(typer.main.get_command(main_module.build()))
    with_json = {words for words, command in found if any("--json" in each.opts for each in command.params)}
    assert len(with_json) > 12
    tested = {tuple(arguments[:length]) for arguments, _ in RUNS for length in (1, 2)}
    assert with_json <= tested


def test_the_schema_refuses_what_is_no_line():
    lines_of = schema.schema()["$defs"]
    good = {"event": "saved", "step": 1, "path": "a"}
    assert fits(good, lines_of["saved"])
    for bad in ({**good, "step": "1"}, {**good, "more": 1}, {"event": "saved", "step": 1}, {**good, "event": "x"}):
        assert not fits(bad, lines_of["saved"])
    assert set(lines_of) == set(EVENTS) - TICKS


def test_numbers_that_json_has_not_are_null(capsys):
    from ddbm_cli.cli import console
    from ddbm_cli.foundation.events import Stepped

    console.render([Stepped(step=1, total=2, loss=float("nan"), rate=float("inf"), seconds=1.0)], json=True)
    line = json.loads(capsys.readouterr().out)
    assert line["loss"] is None and line["rate"] is None
