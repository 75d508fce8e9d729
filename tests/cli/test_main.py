"""The command as a shell sees it: exit codes, streams, and one line for each thing that is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import picture, write_pairs, write_tiny


def ddbm(*arguments, stdin=None, **environment):
    """Run the command; return (exit code, standard output, standard error) as bytes and text."""
    done = subprocess.run(
        [sys.executable, "-m", "ddbm_cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment,
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture(index, 40).save(tmp_path / "in" / f"{index}.png")
    return tmp_path


def test_paths_go_to_standard_output_and_words_to_standard_error(folder, model):
    code, out, err = ddbm("translate", folder / "in", folder / "out", "-m", model)
    assert code == 0 and out.decode().split() == [str(folder / "out" / f"{i}.png") for i in range(3)]
    assert "4 NFE" in err and "licence MIT" in err and "3 written" in err and "\x1b" not in err
    assert "Traceback" not in err


def test_quiet_says_nothing(folder, model):
    code, out, err = ddbm("translate", folder / "in", folder / "out", "-m", model, "-q")
    assert code == 0 and err == "" and len(out.splitlines()) == 3


def test_json_is_a_record_a_line(folder, model):
    (folder / "in" / "bad.png").write_text("words")
    code, out, _ = ddbm("translate", folder / "in", folder / "out", "-m", model, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [record["status"] for record in records].count("written") == 3
    assert records[-1] == {"status": "finished", "written": 3, "kept": 0, "failed": 1}


def test_every_kind_of_bad_picture_is_named_and_the_others_are_done(folder, model):
    """Text named .png, a cut JPEG, an empty file, and shapes at their limits."""
    source = folder / "in"
    (source / "text.png").write_text("words")
    Image.effect_noise((64, 64), 90).convert("RGB").save(source / "cut.jpg")
    (source / "cut.jpg").write_bytes((source / "cut.jpg").read_bytes()[:700])
    (source / "empty.png").touch()
    Image.new("RGB", (1, 1), "red").save(source / "dot.png")
    Image.new("RGB", (20000, 10), "red").save(source / "line.png")
    code, out, err = ddbm("translate", source, folder / "out", "-m", model)
    assert code == 3 and len(out.splitlines()) == 5
    for name in ("text.png", "cut.jpg", "empty.png"):
        assert err.count(name) == 1
    assert err.count("Error:") == err.count("Try:") == 3 and "Traceback" not in err


def test_when_all_pictures_are_bad_nothing_is_done(tmp_path, model):
    (tmp_path / "bad.png").write_text("words")
    code, out, err = ddbm("translate", tmp_path / "bad.png", tmp_path / "out.png", "-m", model)
    assert code == 1 and out == b"" and "bad.png" in err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--sampler", "nonsense"], 2, "unknown sampler 'nonsense'"),
        (["--sampler", "dbim:nonsense=1"], 2, "has no field 'nonsense'"),
        (["--sampler", "dbim:eta=7"], 2, "eta = '7' does not fit"),
        (["--nfe", "0"], 2, "0 network evaluations"),
        (["--nfe", "5", "--steps", "5"], 2, "two ways to say one thing"),
        (["--steps", "0"], 2, "0 steps"),
        (["--fit", "sideways"], 2, "--fit sideways"),
        (["--device", "abacus"], 2, "device 'abacus'"),
        (["--dtype", "fp7"], 2, "unknown dtype"),
        (["--format", "xyz"], 2, "unknown format"),
        (["-m", "missing.safetensors"], 4, "no such model file"),
    ],
    ids=str,
)
def test_bad_options_get_one_line_and_one_remedy(folder, model, options, code, words):
    given = options if "-m" in options else ["-m", model, *options]
    got, out, err = ddbm("translate", folder / "in", folder / "out", *given)
    assert got == code and out == b"" and words in err
    assert len(err.strip().splitlines()) == 2 and "Try:" in err
    assert not (folder / "out").exists()


def test_a_weights_file_without_a_card_is_explained(folder):
    import torch
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, folder / "bare.safetensors")
    code, _, err = ddbm("translate", folder / "in", folder / "out", "-m", folder / "bare.safetensors")
    assert code == 4 and "no model card" in err and len(err.strip().splitlines()) == 2


def test_an_output_that_cannot_be_written_is_one_error(folder, model):
    (folder / "file").touch()
    code, _, err = ddbm("translate", folder / "in", folder / "file" / "out", "-m", model, "-q")
    assert code == 2 and "cannot be written" in err and len(err.strip().splitlines()) == 2


def test_unknown_options_and_missing_input_are_usage_errors():
    assert ddbm("translate", "--nonsense")[0] == 2
    code, _, err = ddbm("translate")
    assert code == 2 and "no input" in err


def test_a_pipe(folder, model):
    body = (folder / "in" / "1.png").read_bytes()
    code, out, err = ddbm("translate", "-", "-", "-m", model, stdin=body)
    (folder / "out.png").write_bytes(out)
    assert code == 0 and Image.open(folder / "out.png").size == (16, 16) and "NFE" in err
    code, out, err = ddbm("translate", "-", "-m", model, stdin=b"words")
    assert code == 1 and out == b"" and "standard input" in err


def test_a_traceback_is_for_those_who_ask(folder):
    arguments = ["translate", folder / "in", folder / "out", "-m", "missing.safetensors"]
    assert "Traceback" in ddbm("--debug", *arguments)[2]
    assert "Traceback" in ddbm(*arguments, DDBM_DEBUG="1")[2]


def test_interrupted_and_given_again_the_pictures_are_the_same(tmp_path, model):
    (tmp_path / "in").mkdir()
    for index in range(40):
        picture(index, 40).save(tmp_path / "in" / f"{index:02d}.png")
    arguments = ["translate", tmp_path / "in", tmp_path / "out", "-m", model, "-b", "2", "--steps", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ddbm_cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(Path(tmp_path).glob("out/*.png")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert process.returncode == 130 and 0 < len(made) < 40
    assert "give the same command again" in err and "Traceback" not in err
    assert not [name for name in made if name.startswith(".")]
    assert ddbm(*arguments)[0] == 0
    again = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert len(again) == 40 and all(again[name] == body for name, body in made.items())


def test_train_then_translate(tmp_path):
    """The whole way by the shell: pairs, a run, a stop, a resumption, pictures."""
    write_pairs(tmp_path / "pairs", 8)
    run = tmp_path / "run"
    small = ["--network", "adm:channels=16,multipliers=1-2,blocks=1,attention=2,head_channels=16,patch=2"]
    code, out, err = ddbm(
        "train", tmp_path / "pairs", "-o", run, "--steps", 4, "-b", 4, "--size", 16, *small, "--val-share", 0.3,
        "--name", "mine", "--device", "cpu",
    )  # fmt: skip
    assert code == 0 and out.decode().strip() == str(run / "model.safetensors") and "held out" in err
    code, out, _ = ddbm("train", "--resume", run, "--steps", 6, "--json")
    assert code == 0 and [json.loads(line)["event"] for line in out.splitlines()].count("stepped") == 2
    code, out, _ = ddbm("translate", tmp_path / "pairs" / "A", tmp_path / "out", "-m", run / "model.safetensors")
    assert code == 0 and len(out.splitlines()) == 8
    code, _, err = ddbm("train", tmp_path / "missing", "-o", tmp_path / "r2")
    assert code == 2 and "no such folder" in err


def test_edges_then_train(tmp_path):
    (tmp_path / "pictures").mkdir()
    for index in range(3):
        picture(index, 64).save(tmp_path / "pictures" / f"{index}.png")
    code, out, _ = ddbm("data", "edges", tmp_path / "pictures", tmp_path / "pairs", "--size", 16)
    assert code == 0 and len(out.splitlines()) == 3
    code, _, err = ddbm("train", tmp_path / "pairs", "-o", tmp_path / "run", "--dry-run", "--size", 16)
    assert code == 0 and "pairs to train on" in err and not (tmp_path / "run").exists()


def test_version_and_module():
    from ddbm_cli import __version__

    assert ddbm("--version")[1].decode() == f"ddbm {__version__}\n"
