"""The command: what is printed, and exit codes."""

import csv
import io
import json

import pytest

from tests.tiny import picture


@pytest.fixture
def pairs(tmp_path):
    for side, shift in (("out", 1), ("truth", 0)):
        (tmp_path / side).mkdir()
        for index in range(3):
            picture(index + shift, 24).save(tmp_path / side / f"{index}.png")
    return tmp_path / "out", tmp_path / "truth"


def test_a_table(ddbm, pairs):
    code, out, err = ddbm("evaluate", *pairs, "--metrics", "mse,psnr")
    assert code == 0 and "3 measured" in err
    assert "MSE ↓" in out.decode() and "PSNR (dB) ↑" in out.decode() and " .. " in out.decode()


def test_json_and_csv_have_the_same_figures(ddbm, pairs):
    code, out, _ = ddbm("evaluate", *pairs, "--metrics", "mse,psnr", "--json")
    record = json.loads(out.splitlines()[-1])
    assert code == 0 and record["pictures"] == 3 and record["event"] == "reported"
    _, out, _ = ddbm("evaluate", *pairs, "--metrics", "mse,psnr", "--csv")
    rows = list(csv.DictReader(io.StringIO(out.decode())))
    for row, figure in zip(rows, record["figures"], strict=True):
        assert row["name"] == figure["name"] and float(row["value"]) == figure["value"]
        assert row["recipe"] and figure["count"] == int(row["count"]) == 3


def test_the_same_twice(ddbm, pairs):
    first, second = (
        json.loads(ddbm("evaluate", *pairs, "--metrics", "mse", "--json")[1].splitlines()[-1]) for _ in range(2)
    )
    assert first["figures"] == second["figures"]


def test_exit_codes(ddbm, pairs):
    outputs, targets = pairs
    assert ddbm("evaluate", outputs, targets, "--metrics", "beauty")[0] == 2
    assert ddbm("evaluate", outputs, targets, "--json", "--csv")[0] == 2
    assert ddbm("evaluate", outputs / "none", targets)[0] == 2
    (outputs / "0.png").write_bytes(b"x")
    code, _, err = ddbm("evaluate", outputs, targets, "--metrics", "mse")
    assert code == 3 and "0.png" in err and "Traceback" not in err
    for index in (1, 2):
        (outputs / f"{index}.png").write_bytes(b"x")
    assert ddbm("evaluate", outputs, targets, "--metrics", "mse")[0] == 1


def test_metrics_of_a_missing_extra_are_skipped(ddbm, pairs, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics", None)
    code, out, err = ddbm("evaluate", *pairs, "--metrics", "mse,ssim")
    assert code == 3 and "MSE" in out.decode() and 'pip install "ddbm-cli[eval]"' in err
    code, out, err = ddbm("evaluate", *pairs)
    assert code == 0 and "SSIM" not in out.decode()
    assert ddbm("evaluate", *pairs, "--metrics", "ssim")[0] == 2


def test_interrupted_it_stops_cleanly(ddbm, pairs, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("ddbm_cli.metrics.pixels.MSE.__call__", stop)
    code, out, err = ddbm("evaluate", *pairs, "--metrics", "mse")
    assert code == 130 and out == b"" and "interrupted" in err and "Traceback" not in err
