"""`ddbm compare` from the shell: streams and exit codes."""

import json
import subprocess
import sys

import pytest

from ddbm_cli.cli import columns, comparison
from ddbm_cli.foundation.events import Compared


def test_the_result_is_the_path_of_the_page(ddbm, folder, model):
    page = folder / "cmp.html"
    arguments = ["compare", folder / "in", "-m", model, "--with", "dbim:5", "--with", "ddbm:5", "-o", page]
    code, out, err = ddbm(*arguments)
    assert (code, out.decode().splitlines()) == (0, [str(page)])
    assert "[6/7] ddbm: 2.png" in err
    code, out, err = ddbm(*arguments)
    assert (code, out) == (2, b"") and "already exists" in err and "--overwrite" in err


def test_records_have_the_table(ddbm, folder, model):
    out = ddbm("compare", folder / "in", "-m", model, "--with", "dbim:5", "-o", folder / "c.json", "--json")[1]
    *_, record, finished = map(json.loads, out.decode().splitlines())
    assert record["rows"][0]["nfe"] == 5 and finished["event"] == "finished"


def test_a_failing_method_is_exit_code_3(ddbm, folder, model):
    page = folder / "c.html"
    asked = ("compare", folder / "in", "-m", model, "--with", "dbim:class=cat", "-o", page)
    code, _, err = ddbm(*asked, "--with", "dbim:5")
    assert code == 3 and page.exists() and "has no classes" in err and "Traceback" not in err
    code, _, err = ddbm(*asked, "--overwrite")
    assert code == 1 and "has no classes" in err


def test_bad_input_is_explained(ddbm, folder, model):
    for arguments, code, word in (
        (["nowhere"], 2, "nowhere"),
        (["in", "--with", "dbim:x"], 2, "cannot read 'x'"),
        (["in", "--nfe", "0"], 2, "--nfe must be at least 1"),
        (["in", "-o", "a.pdf"], 2, "unknown kind of report"),
        (["in", "-m", "missing.safetensors"], 4, "missing.safetensors"),
    ):
        found, out, err = ddbm("compare", folder / arguments[0], "-o", folder / "x.html", *arguments[1:])
        assert (found, out) == (code, b"") and word in err and "Traceback" not in err, arguments


def test_a_table_of_all_methods_ends_the_run(ddbm, folder, model):
    arguments = ["compare", folder / "in", "-m", model, "--with", "dbim:5,7", "--with", "heun:class=cat"]
    _, out, err = ddbm(*arguments, "-o", folder / "c.html")
    lines = err.splitlines()
    (head,) = (place for place, line in enumerate(lines) if line.startswith("METHOD"))
    assert [line.split()[:2] for line in lines[head + 1 : head + 3]] == [["dbim", "5"], ["dbim", "7"]]
    assert lines[head + 3].startswith("heun class cat") and "failed" in lines[head + 3]
    assert "Note     " in err and b"METHOD" not in out
    assert "METHOD" not in ddbm(*arguments, "-o", folder / "d.html", "--quiet")[2]


def test_the_table_fits_80_columns(monkeypatch):
    metrics = {"MSE": False, "PSNR (dB)": True, "Sliced Wasserstein": False, "Edge F1": True}
    row = {"series": "sdedit:0.4", "method": "a", "nfe": 2, "seconds": 0.1, **dict.fromkeys(metrics, 0.12345)}
    event = Compared(metrics=metrics, rows=[row], best={name: [] for name in metrics}, notes=[])
    monkeypatch.setattr(columns, "terminal_width", lambda stream: 80)
    lines = list(comparison.lines(event))
    assert max(map(columns.width_of, lines)) <= 80 and len(lines) == 4
    assert lines[1].split() == ["PSNR", "Sliced", "Edge"] and "Wasserstein" in lines[2]
    monkeypatch.setattr(columns, "terminal_width", lambda stream: None)
    assert "Sliced Wasserstein" in list(comparison.lines(event))[1]


def test_a_mistake_is_exit_code_2_before_torch_is_imported(tmp_path):
    """All in one process, where what a command has imported stays."""
    mistakes = [
        (["--with", "dbmi:10"], "unknown sampler or method 'dbmi'"),
        (["--with", "heun:chrun=0.3"], "churn"),
        (["--with", "dbim:gird=karras"], "gird"),
        (["--with", "dbim:grid=karas"], "karras"),
        (["--with", "heun:churn=7"], "churn"),
        (["--with", "sdedit:1.5"], "between 0 and 1"),
        (["--with", "sdedti:0.4"], "did you mean 'sdedit'?"),
        (["--with", "ddib:20"], "--source-model"),
        (["--with", "dbim:strength=0.4"], "sdedit"),
        (["--nfe", "5", "--seconds", "1"], "mutually exclusive"),
        (["-o", "a.pdf"], ".html"),
        (["-t", "nowhere"], "nowhere"),
        (["nowhere"], "nowhere"),
        (["-"], "standard input"),
    ]
    script = (
        "import sys\n"
        "from ddbm_cli.cli.main import main\n"
        f"for arguments in {[arguments for arguments, _ in mistakes]}:\n"
        "    sys.argv = ['ddbm', 'compare', *arguments]\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert stop.code == 2, stop.code\n"
        "    assert 'torch' not in sys.modules, arguments\n"
        "    print('<<<>>>', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == [], done.stderr
    for (_, word), said in zip(mistakes, done.stderr.split("<<<>>>\n"), strict=False):
        assert word in said and "Hint:" in said, said
    assert done.stderr.count("<<<>>>") == len(mistakes)


@pytest.mark.parametrize(
    "method", ["dbim:model=nowhere.safetensors", "ddib:source=nowhere.safetensors", "sdedit:0.4,model=runs/mien"]
)
def test_a_mistyped_model_of_one_method_is_found_before_any_work(ddbm, folder, model, method):
    code, out, err = ddbm(
        "compare", folder / "in", "-m", model, "--with", "dbim:5", "--with", method, "-o", folder / "c.html"
    )
    assert (code, out) == (4, b"") and method.rpartition("=")[2] in err and "[1/" not in err
