"""What reaches a terminal: no control character of a name, a card, a registry or a library; no markup is obeyed."""

import json
import re

import pytest

from ddbm_cli.cli import columns
from ddbm_cli.foundation.text import one_line, printable
from ddbm_cli.registry import read_registry
from tests.cli.shells import on_a_terminal
from tests.tiny import SMALLEST, picture, write_tiny

SMALL = ("--network", SMALLEST, "--size", "16", "--steps", "1")

NAME = "a\x1b]0;owned\x07\x1b[31mred\x9b2J\r\n\u202egnp\u2028[bold]{x}%s\x7f.png"
"""A file name with escape sequences of 7 and 8 bits, a bidi override, line breaks, rich markup, formats."""

HOSTILE = f"[/x]{NAME}"

OURS = re.compile(
    rb"\x1b\[[0-9;]*[mKHJA]|\x1b\[\?25[lh]|\x1b\[\d*[ABCDG]"  # colours and bars of rich
)


def foreign_controls(screen):
    """Return control characters on a screen that are not our own colours, bars and line ends."""
    rest = OURS.sub(b"", screen).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "")
    return [each for each in rest if each != "\n" and printable(each) != each]


def assert_inert(screen):
    assert foreign_controls(screen) == [], screen
    assert b"owned\x07" not in screen and b"\x1b]0" not in screen
    assert "\u202e".encode() not in screen and b"\x1b[31mred" not in screen


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain", "plain"),
        ("日本 é ñ 👍", "日本 é ñ 👍"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m\x07\x9b", "\\x1b[31m\\x07\\x9b"),
        ("\u202eabc\u2066\u2028", "\\u202eabc\\u2066\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("\xa0", "\xa0"),
    ],
)
def test_control_characters_are_written_as_escapes(text, safe):
    assert printable(text) == safe


def test_every_control_character_is_escaped():
    for number in (*range(0x20), *range(0x7F, 0xA0), 0x61C, *range(0x200E, 0x2010), *range(0x2028, 0x202F)):
        assert printable(chr(number)).isascii() and len(printable(chr(number))) > 1, hex(number)


def test_one_line():
    assert one_line("a\n  b\x1b") == "a b\\x1b"


@pytest.fixture
def hostile(tmp_path):
    """Return a folder with an image, a broken image and a model, all of hostile names and words."""
    (tmp_path / "in").mkdir()
    picture(0, 20).save(tmp_path / "in" / NAME)
    (tmp_path / "in" / f"broken {NAME}").write_text("no image")
    write_tiny(tmp_path / "m\x1b[31m.safetensors", name=HOSTILE, licence=HOSTILE, task=f"x -> {HOSTILE}", data=HOSTILE)
    return tmp_path


MODEL = "m\x1b[31m.safetensors"
COMMANDS = {
    "translate": ["translate", "in", "out[bold]", "-m", MODEL],
    "translate, lines": ["translate", "in", "out", "-m", MODEL, "--no-progress"],
    "translate, JSON": ["translate", "in", "out", "-m", MODEL, "--json"],
    "translate, dry": ["translate", "in", "out", "-m", MODEL, "--dry-run"],
    "sample": ["sample", "in", "-n", "1", "-o", "draws", "-m", MODEL],
    "compare": ["compare", "in", "-m", MODEL, "--with", "dbim:2", "-o", "c\x1b[31m.html"],
    "evaluate": ["evaluate", "in", "in", "--metrics", "mse"],
    "evaluate, CSV": ["evaluate", "in", "in", "--metrics", "mse", "--csv"],
    "train": ["train", "in", "--task", "prior", "-o", "r[/]x", *SMALL],
    "show": ["show", MODEL],
    "show, JSON": ["show", MODEL, "--json"],
    "show an image": ["show", f"in/{NAME}"],
    "data edges": ["data", "edges", "in", "pairs[red]", "--size", "16"],
    "weights export": ["weights", "export", MODEL, "x\x1b[31m.safetensors"],
    "weights import": ["weights", "import", MODEL, "-o", "y[/b]\x07.safetensors"],
    "weights info": ["weights", "info", HOSTILE],
    "weights path": ["weights", "path", MODEL],
    "weights verify": ["weights", "verify", HOSTILE],
    "weights pull": ["weights", "pull", f"./{NAME}"],
    "weights rm": ["weights", "rm", HOSTILE, "-y"],
    "weights push": ["weights", "push", MODEL, f"o/{HOSTILE}", "--dry-run"],
    "doctor": ["doctor", "--device", HOSTILE],
    "a value": ["translate", "in", "out", "--sampler", HOSTILE],
    "an option": ["translate", "in", "out", f"--{HOSTILE}"],
    "a command": [HOSTILE],
    "an argument": ["translate", "in", "out", HOSTILE],
    "a missing input": ["translate", f"none/{NAME}", "out"],
    "a traceback": ["--debug", "translate", f"none/{NAME}", "out"],
}


RUN_ALL = """
import os, sys, json
from ddbm_cli.cli.main import main
for words in json.loads(os.environ["COMMANDS"]):
    sys.argv = ["ddbm", *words]
    try:
        main()
    except SystemExit as stop:
        os.environ.pop("DDBM_DEBUG", None)
        sys.stdout.flush()
        os.write(1, b"<<<%d>>>" % (stop.code or 0))
"""


def screens(commands, folder):
    """Run commands on one terminal, one after the other; return their exit codes and screens."""
    environment = {"HF_HUB_OFFLINE": "1", "COMMANDS": json.dumps(commands)}
    code, _, screen = on_a_terminal([], folder=folder, environment=environment, script=RUN_ALL)
    assert code == 0, screen[-2000:]
    parts = re.split(rb"<<<(\d+)>>>", screen)
    return list(zip(map(int, parts[1::2]), parts[::2], strict=False))


def test_no_command_lets_control_characters_through(hostile):
    found = screens(list(COMMANDS.values()), hostile)
    assert len(found) == len(COMMANDS)
    for name, (code, screen) in zip(COMMANDS, found, strict=True):
        assert code in (0, 1, 2, 3, 4) and screen, name
        assert_inert(screen)
        assert b"unexpected" not in screen.replace(b"unexpected extra argument", b""), (name, screen)
        assert name == "a traceback" or b"Traceback" not in screen, (name, screen)


def test_words_of_a_registry_are_inert(hostile):
    escaped = json.dumps(HOSTILE)
    (hostile / "weights.toml").write_text(f'[mine]\ntask = {escaped}\nrepo = "a/b"\nfile = "f"\nlicence = {escaped}\n')
    commands = [["weights", "list"], ["weights", "info", "mine"], ["weights", "verify"]]
    for _, screen in screens(commands, hostile):
        assert_inert(screen)
        assert b"owned" in screen or b"ok:" in screen


def test_bars_and_notes_are_inert(monkeypatch):
    """All that a bar or a note may hold, of events as a hub could fill them."""
    script = (
        "from pathlib import Path\n"
        "from ddbm_cli.cli import console, terminal\n"
        "from ddbm_cli.foundation.events import *\n"
        f"h = {HOSTILE!r}\n"
        "terminal.prepare()\n"
        "events = [Pulling(file=h, done=1, total=9), Importing(name=h), Doubted(name=h, text=h),\n"
        "  Planned(total=2, facts={h: h}), BatchStarted(images=1, nfe=2), Evaluated(nfe=1), Made(text=h),\n"
        "  Noticed(message=h, hint=h, names=[h]), Kept(source=Path(h), output=Path(h), differs=h),\n"
        "  Failed(source=Path(h), message=h, hint=h), Validated(step=1, scores={h: 1.0}, best=True),\n"
        "  Finished(written=1, kept=0, failed=1, seconds=1.0, output=Path(h))]\n"
        "console.render(events)\n"
        "console.render([Planned(total=2, unit='steps', facts={h: h}),\n"
        "  Stepped(step=1, total=2, loss=1.0, rate=1.0, seconds=1.0),\n"
        "  Validated(step=1, scores={h: 1.0}, best=True),\n"
        "  Trained(output=Path(h), run=Path(h), step=1, total=2, next_command=h)])\n"
    )
    code, _, screen = on_a_terminal([], script=script)
    assert code == 0 and b"owned" in screen
    assert_inert(screen)


def test_libraries_cannot_reach_the_terminal_either():
    script = (
        "import logging, sys, warnings\n"
        "from ddbm_cli.cli import terminal\n"
        "terminal.prepare()\n"
        "warnings.simplefilter('always')\n"
        f"warnings.warn({HOSTILE!r})\n"
        f"logging.warning({HOSTILE!r})\n"
        f"sys.stderr.writelines([{HOSTILE!r}])\n"
    )
    code, _, screen = on_a_terminal([], script=script)
    assert code == 0 and screen.count(b"owned") >= 3
    assert_inert(screen)


def test_markup_in_a_path_is_printed_as_it_is(tmp_path):
    """A run in exp[new] is named so, as is the command that resumes it."""
    (tmp_path / "d").mkdir()
    for index in range(4):
        picture(index, 32).save(tmp_path / "d" / f"{index}.png")
    arguments = ["train", "d", "--task", "prior", "-o", "exp[new]", *SMALL]
    code, _, screen = on_a_terminal(arguments, folder=tmp_path)
    assert code == 0 and re.search(rb"Run +(\x1b\[0m)? *\S*exp\[new\]", screen), screen
    assert b"exp[new]/model.safetensors" in screen and (tmp_path / "exp[new]" / "model.safetensors").exists()


def test_a_dry_run_lists_its_outputs_on_a_terminal(folder, model):
    arguments = ["translate", folder / "in", folder / "out", "-m", model, "--dry-run"]
    code, _, screen = on_a_terminal(arguments)
    assert code == 0 and all(f"out/{index}.png".encode() in screen for index in range(3))


def test_each_packaged_model_is_one_line(tmp_path):
    """In 80 columns too; no text is cut."""
    models = len(read_registry())
    _, _, screen = on_a_terminal(["weights", "list"], folder=tmp_path, columns=80)
    lines = OURS.sub(b"", screen).decode().replace("\r", "").splitlines()
    assert len(lines) == models + 1 and max(map(columns.width_of, lines)) <= 80
    assert "…" not in "".join(lines) and "..." not in "".join(lines)
    assert lines[0].split() == ["NAME", "TASK", "PIXELS", "STATUS"]
    _, _, wide = on_a_terminal(["weights", "list"], folder=tmp_path, columns=160)
    assert b"LICENCE" in wide and b"SOURCE" in wide and len(wide.splitlines()) == models + 1


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("words", [(), ("data",), ("weights",)], ids=str)
def test_no_description_of_a_command_is_cut(ddbm, width, words):
    code, out, _ = ddbm(*words, "--help", COLUMNS=str(width))
    lines = [line for line in out.decode().splitlines() if not line.startswith("Usage:")]
    assert code == 0 and max(map(len, lines)) <= width and not any("..." in line for line in lines)


def test_lines_for_people_wrap_at_words(tmp_path):
    script = (
        "from ddbm_cli.cli import terminal\nterminal.prepare()\n"
        "terminal.fact('Model', 'word ' * 40)\nterminal.error('word ' * 40, 'word ' * 40 + '/' + 'x' * 100)\n"
    )
    _, _, screen = on_a_terminal([], script=script, columns=80)
    lines = OURS.sub(b"", screen).decode().replace("\r", "").splitlines()
    assert all(len(line) <= 80 or "xxx" in line for line in lines) and len(lines) > 8
    assert all(set(line.split()) <= {"word", "Model", "Error:", "Hint:"} or "/xxx" in line for line in lines)


def test_tables_wrap_one_column_and_leave_out_others():
    rows = [("NAME", "TEXT", "MORE"), ("a", "one two three four five six seven", "日本")]
    assert columns.lines(rows, None, wrapped=1) == [
        "NAME  TEXT                               MORE",
        "a     one two three four five six seven  日本",
    ]
    narrow = columns.lines(rows, 24, wrapped=1, optional=[2])
    assert narrow[0] == "NAME  TEXT" and len(narrow) > 2 and max(map(len, narrow)) <= 24
    assert columns.width_of("日本é") == 5
