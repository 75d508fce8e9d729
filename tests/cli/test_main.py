"""The command as a shell sees it: exit codes, streams, and one line for each thing that is wrong."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file

from ddbm_cli import __version__
from ddbm_cli.cli import main as main_module
from ddbm_cli.models.card import HEADER_KEY
from tests.forked import running
from tests.tiny import SMALLEST, picture, tiny_card, write_pairs, write_tiny


def test_paths_go_to_standard_output_and_words_to_standard_error(ddbm, folder, model):
    code, out, err = ddbm("translate", folder / "in", folder / "out", "-m", model)
    assert code == 0 and out.decode().split() == [str(folder / "out" / f"{i}.png") for i in range(3)]
    assert "4 NFE" in err and "licence MIT" in err and "3 written" in err and "\x1b" not in err
    assert "Traceback" not in err


def test_quiet_prints_nothing(ddbm, folder, model):
    code, out, err = ddbm("translate", folder / "in", folder / "out", "-m", model, "-q")
    assert code == 0 and err == "" and len(out.splitlines()) == 3


def test_input_and_output_may_be_options(ddbm, folder, model):
    code, out, _ = ddbm("translate", "-i", folder / "in", "-o", folder / "out", "-m", model)
    assert code == 0 and len(out.splitlines()) == 3
    code, _, err = ddbm("translate", folder / "in", folder / "out", "-o", folder / "out")
    assert code == 2 and "OUTPUT is given twice" in err


def test_json_is_a_record_a_line(ddbm, folder, model):
    (folder / "in" / "bad.png").write_text("words")
    code, out, _ = ddbm("translate", folder / "in", folder / "out", "-m", model, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    written = [record for record in records if record["event"] == "written"]
    assert [record["output"] for record in written] == [str(folder / "out" / f"{i}.png") for i in range(3)]
    assert all(record["seed"] == 0 and record["nfe"] == 4 and record["model"] == "tiny" for record in written)
    assert [record["input"] for record in records if record["event"] == "failed"] == [str(folder / "in" / "bad.png")]
    assert records[-1]["event"] == "finished" and (records[-1]["written"], records[-1]["failed"]) == (3, 1)


def test_a_dry_run_names_what_would_be_made(ddbm, folder, model):
    code, out, _ = ddbm("translate", folder / "in", folder / "out", "-m", model, "--dry-run", "--json")
    outputs = [record["output"] for record in map(json.loads, out.splitlines()) if record["event"] == "intended"]
    assert code == 0 and outputs == [str(folder / "out" / f"{i}.png") for i in range(3)]
    assert not (folder / "out").exists()


def test_what_is_finished_is_kept_and_what_differs_is_named(ddbm, folder, model):
    arguments = ["translate", folder / "in", folder / "out", "-m", model]
    ddbm(*arguments)
    code, out, err = ddbm(*arguments)
    assert code == 0 and out == b"" and "3 kept" in err
    code, out, err = ddbm(*arguments, "--seed", "1")
    assert code == 0 and out == b"" and "another seed" in err and "--overwrite" in err
    assert len(ddbm(*arguments, "--seed", "1", "--overwrite")[1].splitlines()) == 3


def test_every_kind_of_bad_image_is_named_and_the_others_are_done(ddbm, folder, model):
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
    assert err.count("Error:") == err.count("Hint:") == 3 and "Traceback" not in err
    assert Image.open(folder / "out" / "line.png").size == (16, 1)
    code, out, _ = ddbm("translate", source, folder / "out", "-m", model)
    assert code == 3 and out == b""


def test_when_all_images_are_bad_nothing_is_done(ddbm, tmp_path, model):
    (tmp_path / "bad.png").write_text("words")
    code, out, err = ddbm("translate", tmp_path / "bad.png", tmp_path / "out.png", "-m", model, "-q")
    assert code == 1 and out == b"" and "bad.png" in err and len(err.splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--sampler", "nonsense"], 2, "unknown sampler 'nonsense'"),
        (["--sampler", "dbim:nonsense=1"], 2, "has no field 'nonsense'"),
        (["--sampler", "dbim:eta=7"], 2, "eta = '7' does not fit"),
        (["--grid", "nonsense"], 2, "unknown grid 'nonsense'"),
        (["--nfe", "0"], 2, "--nfe must be at least 1, not 0"),
        (["--nfe", "x"], 2, "--nfe"),
        (["--nfe", "5", "--steps", "5"], 2, "--steps and --nfe are mutually exclusive"),
        (["--steps", "0"], 2, "--steps must be at least 1"),
        (["--seed", "-1"], 2, "--seed must be at least 0, not -1"),
        (["--fit", "sideways"], 2, "--fit sideways"),
        (["--quality", "0"], 2, "--quality must be at least 1"),
        (["-b", "0"], 2, "--batch-size must be at least 1"),
        (["-b", "some"], 2, "--batch-size must be a whole number, not 'some'"),
        (["--device", "abacus"], 2, "device 'abacus'"),
        (["--dtype", "fp7"], 2, "--dtype fp7: unknown value"),
        (["--format", "xyz"], 2, "unknown format"),
        (["--nonsense"], 2, "--nonsense"),
        (["-m", "missing.safetensors"], 4, "no such model file"),
    ],
    ids=str,
)
def test_bad_options_get_one_line_and_one_remedy(ddbm, folder, model, options, code, words):
    given = options if "-m" in options else ["-m", model, *options]
    got, out, err = ddbm("translate", folder / "in", folder / "out", *given)
    assert got == code and out == b"" and words in err
    assert len(err.strip().splitlines()) == 2 and "Hint:" in err
    assert not (folder / "out").exists()


def test_a_missing_input_is_explained(ddbm, folder, model):
    for source in (folder / "none", folder / "*.gif", folder):
        code, out, err = ddbm("translate", source, folder / "out", "-m", model)
        assert code == 2 and out == b"" and len(err.strip().splitlines()) == 2 and str(source) in err
    code, _, err = ddbm("translate")
    assert code == 2 and "no input" in err


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({}, "no model card"),
        ({HEADER_KEY: "{"}, "not readable"),
        ({HEADER_KEY: '{"format": 99}'}, "format 99"),
        (tiny_card(network={"name": "nonsense"}).header(), "nonsense"),
        (tiny_card().header(), "tensors do not fit"),
    ],
    ids=["none", "broken", "newer", "unknown network", "other tensors"],
)
def test_a_weights_file_that_does_not_describe_itself_is_explained(ddbm, folder, header, words):
    save_file({"x": torch.zeros(1)}, folder / "bare.safetensors", header)
    code, _, err = ddbm("translate", folder / "in", folder / "out", "-m", folder / "bare.safetensors")
    assert code == 4 and words in err and len(err.strip().splitlines()) == 2


def test_an_output_that_cannot_be_written_is_one_error(ddbm, folder, model):
    (folder / "file").touch()
    code, _, err = ddbm("translate", folder / "in", folder / "file" / "out", "-m", model, "-q")
    assert code == 2 and "cannot be written" in err and len(err.strip().splitlines()) == 2


def test_inputs_are_not_overwritten(ddbm, folder, model):
    before = {path.name: path.read_bytes() for path in (folder / "in").iterdir()}
    for source, output in (("in", "in"), ("in/1.png", "in/1.png"), ("in/*.png", "in")):
        code, _, err = ddbm("translate", folder / source, folder / output, "-m", model, "--overwrite")
        assert code == 2 and "overwrite an input" in err
    assert {path.name: path.read_bytes() for path in (folder / "in").iterdir()} == before


def test_a_pipe(ddbm, folder, model):
    body = (folder / "in" / "1.png").read_bytes()
    code, out, err = ddbm("translate", "-", "-", "-m", model, stdin=body)
    (folder / "out.png").write_bytes(out)
    assert code == 0 and Image.open(folder / "out.png").size == (16, 16) and "NFE" in err
    code, out, _ = ddbm("translate", folder / "in" / "1.png", "-", "-m", model, "-f", "webp", "-q")
    assert code == 0 and out[:4] == b"RIFF"
    code, out, _ = ddbm("translate", "-", folder / "x.png", "-m", model, stdin=body)
    assert code == 0 and out.decode().strip() == str(folder / "x.png")
    code, out, err = ddbm("translate", "-", "-m", model, "-q", stdin=b"words")
    assert code == 1 and out == b"" and "standard input" in err and len(err.splitlines()) == 2
    code, out, err = ddbm("translate", "-", "-m", model, stdin=b"")
    assert code == 1 and "empty" in err
    code, out, err = ddbm("translate", folder / "in", "-", "-m", model)
    assert code == 2 and "a folder cannot be written to standard output" in err
    code, out, err = ddbm("translate", "-", "-", "-m", model, "--json", stdin=body)
    assert code == 2 and json.loads(out)["event"] == "error" and "--json" in err


def test_a_traceback_is_for_those_who_ask(ddbm, folder):
    arguments = ["translate", folder / "in", folder / "out", "-m", "missing.safetensors"]
    assert "Traceback" in ddbm("--debug", *arguments)[2]
    assert "Traceback" in ddbm(*arguments, DDBM_DEBUG="1")[2]


def test_the_unexpected_is_one_line_and_a_way_to_the_traceback(ddbm, folder, model, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError("a\nlong\nstory")

    monkeypatch.setattr("ddbm_cli.tasks.request.loading", broken)
    code, out, err = ddbm("translate", folder / "in", folder / "out", "-m", model)
    assert code == 1 and out == b"" and "ZeroDivisionError: a long story" in err and "--debug" in err
    assert len(err.splitlines()) == 2


def test_errors_of_the_system_name_the_path(ddbm, folder, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    for options in ([], ["--format", "diffusers"]):
        code, out, err = ddbm("weights", "export", "sketch-to-3d-64", blocked / "model", *options)
        assert code == 1 and out == b"" and str(blocked) in err and "permissions" in err and "unexpected" not in err
        assert len(err.splitlines()) == 2


def test_version_and_help(ddbm):
    assert ddbm("--version")[1].decode() == f"ddbm {__version__}\n"
    for arguments in ([], ["--help"], ["-h"]):
        code, out, err = ddbm(*arguments)
        assert code == 0 and b"translate" in out and b"train" in out and b"data" in out and err == ""
    code, out, _ = ddbm("translate", "--help")
    assert code == 0 and b"Sampling:" in out and b"--nfe" in out and b"ddbm translate sketches/" in out
    code, out, _ = ddbm("data")
    assert code == 0 and b"edges" in out
    code, _, err = ddbm("translat")
    assert code == 2 and "'translate'" in err


def commands(group, words=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


def test_every_command_explains_itself(ddbm):
    found = list(commands(typer.main.get_command(main_module.build())))
    assert len(found) > 12
    for words, command in found:
        for parameter in command.params:
            assert parameter.help or parameter.hidden, (words, parameter.name)
        code, out, _ = ddbm(*words, "--help")
        text = out.decode()
        usage = " ".join(text.partition("\n\n")[0].split())
        assert code == 0 and "Example" in text and f"ddbm {' '.join(words)}" in text, words
        kept_as_written = (block for block in command.help.split("\n\n") if block.startswith("\b"))
        assert max(len(line) for block in kept_as_written for line in block.splitlines()) <= 77, words  # of 80 columns
        assert re.fullmatch(r"Usage: .* \[OPTIONS\]( [A-Z/]+(\.\.\.)?| \[[A-Z/]+(\.\.\.)?\])*", usage), usage


def test_interrupted_and_given_again_the_images_are_the_same(ddbm, tmp_path, model):
    (tmp_path / "in").mkdir()
    for index in range(12):
        picture(index, 40).save(tmp_path / "in" / f"{index:02d}.png")
    arguments = ["translate", tmp_path / "in", tmp_path / "out", "-m", model, "-b", "1", "--steps", "20"]
    with running(*arguments) as (process, out, said):
        out.readline()
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        err = said()
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert process.exitcode == 130 and 0 < len(made) < 12
    assert b"run the same command again" in err and b"Traceback" not in err
    assert not [name for name in made if name.startswith(".")]
    assert ddbm(*arguments)[0] == 0
    again = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert len(again) == 12 and all(again[name] == body for name, body in made.items())
    ddbm("translate", tmp_path / "in", tmp_path / "whole", *arguments[3:])
    assert again == {path.name: path.read_bytes() for path in (tmp_path / "whole").glob("*.png")}


def test_a_reader_that_goes_is_no_error_worth_words(tmp_path, model):
    (tmp_path / "in").mkdir()
    for index in range(30):
        picture(index, 40).save(tmp_path / "in" / f"{index:02d}.png")
    arguments = ["translate", tmp_path / "in", tmp_path / "out", "-m", model, "-b", "1", "-q"]
    with running(*arguments) as (process, out, said):
        out.readline()
        out.close()
        process.join(60)
        assert process.exitcode == 1 and said() == b""


def test_file_names_that_are_no_text_come_through(ddbm, folder, model):
    name = os.fsencode(folder / "in") + b"/caf\xe9.png"
    try:
        os.rename(folder / "in" / "0.png", name)  # noqa: PTH104 - a name of bytes
    except OSError:
        pytest.skip("this file system takes no such name")
    code, out, _ = ddbm("translate", folder / "in", folder / "out", "-m", model)
    assert code == 0 and os.fsencode(folder / "out") + b"/caf\xe9.png" in out.splitlines()
    code, out, _ = ddbm("translate", folder / "in", folder / "other", "-m", model, "--json")
    assert code == 0 and all(json.loads(line) for line in out.splitlines())


def test_train_then_translate(ddbm, tmp_path):
    """The whole way by the shell: pairs, a run, a stop, a resumption, pictures."""
    write_pairs(tmp_path / "pairs", 8)
    run = tmp_path / "run"
    code, out, err = ddbm(
        "train", tmp_path / "pairs", "-o", run, "--steps", 4, "-b", 4, "--size", 16, "--val-share", 0.3,
        "--network", SMALLEST, "--name", "mine", "--device", "cpu",
    )  # fmt: skip
    assert code == 0 and out.decode().strip() == str(run / "model.safetensors") and "held out" in err
    code, out, _ = ddbm("train", "--resume", run, "--steps", 6, "--json")
    assert code == 0 and [json.loads(line)["event"] for line in out.splitlines()].count("stepped") == 2
    code, out, _ = ddbm("translate", tmp_path / "pairs" / "A", tmp_path / "out", "-m", run / "model.safetensors")
    assert code == 0 and len(out.splitlines()) == 8
    code, _, err = ddbm("train", tmp_path / "missing", "-o", tmp_path / "r2")
    assert code == 2 and "no such file or folder" in err


def test_edges_then_train(ddbm, tmp_path):
    (tmp_path / "pictures").mkdir()
    for index in range(3):
        picture(index, 64).save(tmp_path / "pictures" / f"{index}.png")
    code, out, _ = ddbm("data", "edges", tmp_path / "pictures", tmp_path / "pairs", "--size", 16)
    assert code == 0 and len(out.splitlines()) == 3
    options = ("--dry-run", "--size", 16, "--network", SMALLEST)
    code, _, err = ddbm("train", tmp_path / "pairs", "-o", tmp_path / "run", *options)
    assert code == 0 and "3 pairs to train on" in err and not (tmp_path / "run").exists()


def test_the_module_is_the_command(folder):
    write_tiny(folder / "tiny.safetensors")
    arguments = ["translate", folder / "in", folder / "out", "-m", folder / "tiny.safetensors", "-q"]
    done = subprocess.run([sys.executable, "-m", "ddbm_cli", *map(str, arguments)], capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 3 and done.stderr == b""
