"""Streams of other encodings, closed streams and missing homes: the work is done, or an error says why not."""

import codecs
import os
import shutil

import pytest

from ddbm_cli.foundation.text import RAW_BYTES, SPELL_OUT
from tests import forked
from tests.cli.shells import on_a_terminal, run
from tests.tiny import picture


@pytest.fixture
def named(tmp_path, model):
    """Return a folder with an image whose name few encodings have, and a model."""
    (tmp_path / "in").mkdir()
    for name in ("日本", "é", "plain"):
        picture(len(name), 20).save(tmp_path / "in" / f"{name}.png")
    shutil.copy(model, tmp_path / "m.safetensors")
    return tmp_path


TRANSLATE = ["translate", "in", "out", "-m", "m.safetensors"]


RENDER = r"""
import sys
from pathlib import Path
from ddbm_cli.cli import console, report, terminal
from ddbm_cli.foundation.events import *
terminal.prepare()
paths = [Path("out") / name for name in ("\u65e5\u672c.png", "\xe9.png", "plain.png")]
events = [Planned(total=3, facts={"Input": "\u65e5\u672c"})]
events += [Written(source=path, output=path) for path in paths]
events += [Failed(source=paths[0], message="\u65e5\u672c: damaged", hint="draw it again")]
events += [Finished(written=3, kept=0, failed=0, seconds=1.0)]
code = console.render(events, progress=False)
figure = Figure(name="psnr", label="PSNR", value=1.0, count=1, higher_is_better=True, recipe="\u65e5\u672c \u2026")
reported = Reported(figures=[figure], pictures=1, failed=0, missing=0, odd=0, unavailable=[], seconds=1.0)
sys.exit(code or console.render([reported], table=report.as_table))
"""


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437", "utf-16", "koi8-r", "ascii:strict"])
def test_no_encoding_of_the_streams_ends_the_work(encoding):
    code, out, err = run([], script=RENDER, environment={"PYTHONIOENCODING": encoding})
    assert code == 0 and b"Traceback" not in err, err
    text = out.decode(encoding.partition(":")[0])
    assert "plain.png" in text and ("\\u65e5\\u672c.png" in text or "日本.png" in text)
    assert "PSNR" in text and ("↑" in text or "(higher is better)" in text)


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "xx_XX.none"])
def test_no_locale_ends_the_work(locale):
    environment = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = run([], script=RENDER, environment=environment)
    assert code == 0 and b"Traceback" not in err and b"plain.png" in out


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.slow),
    ],
    ids=["cp1252", "C"],
)
def test_all_outputs_are_written_whatever_the_encoding(named, environment):
    code, out, err = run(TRANSLATE, folder=named, environment=environment)
    assert code == 0 and b"Traceback" not in err and len(out.splitlines()) == 3
    assert {path.name for path in (named / "out").glob("*.png")} == {"日本.png", "é.png", "plain.png"}


def test_names_that_are_not_utf8_go_into_a_pipe_as_they_are_and_onto_a_terminal_as_escapes(named):
    name = os.fsencode(named / "in") + b"/caf\xe9.png"
    try:
        os.rename(named / "in" / "plain.png", name)  # noqa: PTH104 - a name of bytes
    except OSError:
        pytest.skip("this file system takes no such name")
    code, out, err = forked.run(*TRANSLATE, folder=named)
    assert code == 0 and b"out/caf\xe9.png" in out.splitlines() and b"caf\\xe9.png" in err
    code, _, screen = on_a_terminal([], script=RENDER.replace("plain.png", "caf\\udce9.png"))
    assert code == 0 and b"caf\\xe9.png" in screen and b"caf\xe9" not in screen


def test_error_handlers():
    assert "a\udce9日".encode("cp1252", RAW_BYTES) == b"a\xe9\\u65e5"
    assert "a\udce9日".encode("utf-8", RAW_BYTES) == b"a\xe9" + "日".encode()
    assert "a\udce9日\U0001f600".encode("ascii", SPELL_OUT) == b"a\\xe9\\u65e5\\U0001f600"
    with pytest.raises(UnicodeDecodeError):
        codecs.decode(b"\xff", "utf-8", SPELL_OUT)


@pytest.mark.parametrize("redirect", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_closed_streams(named, redirect):
    assert run([], script=RENDER, redirect=redirect)[0] == 0
    assert run(["weights", "list"], folder=named, redirect=redirect)[0] == 0
    code, _, err = run(["weights", "info", "nothing"], folder=named, redirect=redirect)
    assert code == 4 and (b"no model" in err or "2>&-" in redirect)


def test_no_output_gets_the_words_of_a_closed_stream(named):
    code, _, _ = forked.run(*TRANSLATE, folder=named, closed=(0, 1, 2))
    made = sorted((named / "out").glob("*.png"))
    assert code == 0 and len(made) == 3 and all(path.read_bytes()[:4] == b"\x89PNG" for path in made)


def test_a_image_cannot_go_to_a_closed_output(named):
    code, _, err = run(["translate", "in/é.png", "-", "-m", "m.safetensors"], folder=named, redirect=">&-")
    assert code == 2 and b"standard output is closed" in err


def test_closed_input_is_an_empty_image(named):
    code, _, err = forked.run("translate", "-", "out.png", "-m", "m.safetensors", folder=named, closed=(0,))
    assert code == 1 and b"standard input" in err and len(err.strip().splitlines()) >= 2 and b"Traceback" not in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [["weights", "list"], ["--help"], ["weights", "list", "--json"]], ids=str)
def test_a_full_disk_behind_standard_output_is_one_error(named, arguments):
    code, _, err = run(arguments, folder=named, redirect="> /dev/full")
    assert code == 1 and b"standard output: No space left on device" in err
    assert b"Traceback" not in err and b"Exception ignored" not in err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_error_does_not_end_the_work(unbuffered):
    """Nor does it change the exit code: Python itself would end with 120 where it cannot write what it has kept."""
    code, out, _ = run([], script=RENDER, environment={"PYTHONUNBUFFERED": unbuffered}, redirect="2> /dev/full")
    assert code == 0 and len(out.splitlines()) == 5


@pytest.mark.parametrize("arguments", [["weights", "list"], ["--help"], ["translate", "--help"]], ids=str)
def test_a_reader_that_goes_is_no_error(named, arguments):
    _, out, err = run(arguments, folder=named, redirect="| head -c 1")
    assert len(out) == 1 and b"Traceback" not in err and b"BrokenPipe" not in err and b"Exception" not in err


def test_words_may_go_to_a_reader_that_goes(named):
    """Standard error in a pipe that is closed: the results are complete."""
    code, out, _ = run([], script=RENDER, folder=named, redirect="2>&1 >names | true")
    assert code == 0 and len((named / "names").read_bytes().splitlines()) == 5 and out == b""


def test_a_home_that_cannot_be_written(named):
    environment = {"HOME": "/proc/nowhere", "DDBM_HOME": "/proc/nowhere/ddbm", "HF_HOME": "/proc/nowhere/hf"}
    code, _, err = run(TRANSLATE, folder=named, environment=environment)
    assert code == 0 and b"Traceback" not in err
    code, _, err = run(["weights", "list"], folder=named, environment=environment)
    assert code == 0 and b"Traceback" not in err


def test_names_as_long_as_a_file_system_allows(ddbm, named, monkeypatch):
    monkeypatch.chdir(named)
    long = "n" * 251 + ".png"
    picture(0, 20).save(named / "in" / long)
    code, _, err = ddbm(*TRANSLATE)
    assert code == 0 and (named / "out" / long).exists(), err
    for arguments in (
        ["translate", "x" * 300, "out", "-m", "m.safetensors"],
        ["translate", "in/é.png", "y" * 300 + ".png", "-m", "m.safetensors"],
        ["show", "z" * 300],
        ["translate", "in", "out2", "-m", "w" * 300],
        ["train", "t" * 300, "--steps", "1"],
        ["evaluate", "e" * 300, "in"],
        ["data", "edges", "d" * 300, "out3"],
        ["compare", "c" * 300],
    ):
        code, _, err = ddbm(*arguments)
        assert code in (1, 2, 3, 4) and "Traceback" not in err and "unexpected" not in err, (arguments, err)


def test_an_unquoted_pattern_is_explained(named):
    """The shell has replaced *.png by names, which are too many arguments."""
    code, _, err = run([*TRANSLATE[:1], "in/é.png", "in/日本.png", "in/plain.png", "out"], folder=named)
    assert code == 2 and b"quote" in err


def test_no_home_and_no_user(named):
    """A container may run as a number that no file names, without a HOME."""
    fine = [["weights", "list"], TRANSLATE]
    others = [["weights", "info", "~/x"], ["weights", "path", "diode-vp-256"], ["doctor", "--device", "cpu"]]
    script = (
        "import sys\n"
        "def nobody(number): raise KeyError(number)\n"
        "import pwd\npwd.getpwuid = nobody\n"
        "from ddbm_cli.cli.main import main\n"
        "from ddbm_cli.tasks import doctor\n"
        "doctor.SECONDS, doctor.CONV = 0.0, (1, 8, 8)\n"
        f"for words in {fine + others}:\n"
        "    sys.argv = ['ddbm', *words]\n"
        "    try:\n        main()\n"
        "    except SystemExit as stop:\n        print('code', stop.code or 0, file=sys.stderr)\n"
    )
    gone = ["HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HF_HOME", "DDBM_HOME", "USER", "LOGNAME"]
    code, _, err = run([], script=script, folder=named, remove=gone, environment={"HF_HUB_OFFLINE": "1"})
    assert code == 0 and b"Traceback" not in err and b"unexpected" not in err, err
    codes = [int(line.split()[1]) for line in err.splitlines() if line.startswith(b"code ")]
    assert codes[:2] == [0, 0] and len(codes) == 5 and set(codes[2:]) <= {0, 1, 4}, err
    assert not (named / "~").exists()
