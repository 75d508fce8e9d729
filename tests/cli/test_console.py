"""How events are shown: bars, lines, records, and the exit code they add up to."""

import json
import sys
from pathlib import Path

import pytest

from ddbm_cli.cli import console
from ddbm_cli.tasks.events import (
    BatchStarted,
    Evaluated,
    Failed,
    Finished,
    Intended,
    Kept,
    Planned,
    Written,
)
from tests.tiny import picture

IN, OUT = Path("in"), Path("out")


def written(name):
    return Written(source=IN / name, output=OUT / name, record={"seed": 7})


def failed(name):
    return Failed(source=IN / name, message=f"in/{name}: damaged", hint="draw it again")


def kept(name, differs=""):
    return Kept(source=IN / name, output=OUT / name, differs=differs)


def finished(done=0, was=0, bad=0):
    return Finished(written=done, kept=was, failed=bad, seconds=1.0, output=OUT)


def show(capsys, *events, quiet=False, json=False, progress=True):
    """Render events; return (exit code, standard output, standard error)."""
    code = console.render(iter(events), quiet=quiet, json=json, progress=progress)
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("counts", "code"),
    [((2, 0, 0), 0), ((0, 2, 0), 0), ((1, 0, 1), 3), ((0, 1, 1), 3), ((0, 0, 2), 1), ((0, 0, 0), 0)],
    ids=str,
)
def test_the_exit_code_follows_from_the_results(capsys, counts, code):
    for options in ({}, {"json": True}, {"quiet": True}):
        assert show(capsys, Planned(total=2), finished(*counts), **options)[0] == code


def test_lines_without_a_terminal(capsys):
    events = (
        Planned(total=4, kept=1, facts={"Model": "tiny"}),
        kept("a.png"),
        BatchStarted(images=2, nfe=1),
        Evaluated(nfe=1),
        written("b.png"),
        failed("c.png"),
        written("d.png"),
        finished(2, 1, 1),
    )
    code, out, err = show(capsys, *events)
    assert code == 3 and out.splitlines() == ["out/b.png", "out/d.png"]
    assert err.splitlines() == [
        "Model    tiny",
        "Kept     1 exist already, 3 to do",
        "[2/4] in/b.png -> out/b.png",
        "[4/4] in/d.png -> out/d.png",
        "Error: in/c.png: damaged",
        "  Hint: draw it again",
        "Done     2 written, 1 kept, 1 failed in 1.0 s",
    ]
    code, out, err = show(capsys, *events, quiet=True)
    assert out.splitlines() == ["out/b.png", "out/d.png"]
    assert err.splitlines() == ["Error: in/c.png: damaged", "  Hint: draw it again"]


def test_records_carry_all_that_the_lines_say(capsys):
    events = (
        Planned(total=4, kept=2),
        kept("a.png"),
        kept("b.png", "another seed"),
        written("c.png"),
        failed("d.png"),
        finished(1, 2, 1),
    )
    code, out, _ = show(capsys, *events, json=True)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 3 and lines == [
        {"event": "planned", "total": 4, "kept": 2, "facts": {}, "unit": "images"},
        {"event": "kept", "input": "in/a.png", "output": "out/a.png", "differs": ""},
        {"event": "kept", "input": "in/b.png", "output": "out/b.png", "differs": "another seed"},
        {"event": "written", "input": "in/c.png", "output": "out/c.png", "seed": 7},
        {"event": "failed", "input": "in/d.png", "error": "in/d.png: damaged", "hint": "draw it again"},
        {"event": "finished", "written": 1, "kept": 2, "failed": 1, "seconds": 1.0, "output": "out", "word": "written"},
    ]


def test_a_record_is_one_line_whatever_it_holds(capsys):
    event = Written(source=Path("a\nb.png"), output=Path("é.png"), record={})
    _, out, _ = show(capsys, Planned(total=1), event, finished(1), json=True)
    assert json.loads(out.splitlines()[1])["input"] == "a\nb.png" and len(out.splitlines()) == 3


def test_many_that_differ_are_counted_not_listed(capsys):
    events = [kept(f"{index}.png", "another seed") for index in range(9)]
    _, out, err = show(capsys, Planned(total=9, kept=9), *events, finished(0, 9))
    assert out == "" and err.count("another seed") == 5 and "and 4 more" in err and "--overwrite" in err


def test_a_dry_run_lists_the_planned_outputs(capsys):
    events = (Planned(total=1), Intended(source=IN / "a.png", output=OUT / "a.png"))
    assert show(capsys, *events)[1] == "out/a.png\n"
    assert json.loads(show(capsys, *events, json=True)[1].splitlines()[1])["event"] == "intended"


def test_an_interrupted_task_is_closed_and_its_failures_are_said(capsys):
    closed = []

    def events():
        try:
            yield Planned(total=3)
            yield failed("a.png")
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    code = console.render(events(), quiet=True, json=False, progress=True)
    err = capsys.readouterr().err
    assert code == 130 and closed and "in/a.png" in err and "run the same command again" in err


def test_an_interruption_while_showing_closes_the_task(capsys, monkeypatch):
    closed = []

    def events():
        try:
            yield Planned(total=3)
            yield written("a.png")
        finally:
            closed.append(True)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.stdout, "write", interrupted)
    assert console.render(events(), quiet=True, json=False, progress=True) == 130 and closed


def on_a_terminal(arguments, *, both):
    """Run the command with standard error, or both streams, on a terminal; return (code, standard output, screen)."""
    shells = pytest.importorskip("tests.cli.shells")  # there are no pseudo terminals on Windows
    code, out, screen = shells.on_a_terminal(arguments, only_stderr=not both)
    return code, out.decode(), screen.decode()


@pytest.mark.parametrize("both", [False, True], ids=["stderr", "both"])
def test_two_bars_on_a_terminal(folder, model, both):
    for index in range(3, 6):
        picture(index, 40).save(folder / "in" / f"{index}.png")
    (folder / "in" / "bad.png").write_text("words")
    arguments = ["translate", folder / "in", folder / "out", "-m", model, "-b", "2", "--steps", "9"]
    code, out, screen = on_a_terminal(arguments, both=both)
    assert code == 3
    for words in ("Images", "NFE", "img/s", "NFE/s", "left", "batch 2", "/7", "/10", "bad.png", "6 written"):
        assert words in screen, words
    paths = [str(folder / "out" / f"{index}.png") for index in range(6)]
    if both:
        # Paths among bars would be a mess: the last line says where all are.
        assert screen.rstrip().splitlines()[-1].strip() == str(folder / "out")
    else:
        assert out.splitlines() == paths and "->" not in screen


def test_bars_can_be_switched_off_on_a_terminal(folder, model):
    arguments = ["translate", folder / "in", folder / "out", "-m", model, "--no-progress"]
    code, out, screen = on_a_terminal(arguments, both=False)
    assert code == 0 and len(out.splitlines()) == 3
    assert "Images" not in screen and "[3/3]" in screen
