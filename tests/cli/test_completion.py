"""Shell completion, as a shell asks for it."""

import json
import os
import resource
import subprocess
import sys

import pytest

from ddbm_cli.cli import early
from ddbm_cli.options.names import names
from ddbm_cli.registry import read_registry
from tests.tiny import write_tiny

SCRIPT = """
import json, os, sys
sys.modules["torch"] = None
sys.argv = ["ddbm"]
from ddbm_cli.cli.main import main
for environment in json.loads(os.environ["ASKED"]):
    os.environ |= environment
    try:
        main()
    except SystemExit:
        pass
    sys.stdout.flush()
    os.write(1, b"<<<>>>")
"""


def complete_all(*lines, folder=None, shell="bash"):
    """Return what the last word of each line may become; all are asked of one process."""
    asked = []
    for words in lines:
        if shell == "bash":
            asked.append({"_DDBM_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["ddbm", *words])})
            asked[-1] |= {"COMP_CWORD": str(len(words))}
        else:
            asked.append({"_DDBM_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": " ".join(["ddbm", *words])})
            asked[-1] |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = os.environ | {"ASKED": json.dumps(asked)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr
    *found, rest = done.stdout.split("<<<>>>")
    assert len(found) == len(lines) and not rest
    return [each.split() if shell == "bash" else each for each in found]


def complete(*words, **how):
    """Return what the last word may become."""
    return complete_all(words, **how)[0]


def test_commands():
    every, begun, inner = complete_all([""], ["tra"], ["weights", "pu"])
    assert {"translate", "sample", "train", "weights", "data", "manual"} <= set(every)
    assert begun == ["translate", "train"]
    assert inner == ["pull", "push"]


def test_values():
    lines = [
        (["translate", "in", "out", "-m", "prior"], ["prior-3d-64"]),
        (["translate", "--model", "diode"], ["diode-vp-256"]),
        (["weights", "info", "diode"], ["diode-vp-256"]),
        (["weights", "pull", "prior-3d-64", "diode"], ["diode-vp-256"]),
        (["translate", "--sampler", "dbim"], ["dbim", "dbim-2", "dbim-3"]),
        (["translate", "--grid", "kar"], ["karras"]),
        (["translate", "--method", "sde"], ["sdedit"]),
        (["translate", "--dtype", "bf"], ["bf16"]),
        (["translate", "--device", "cu"], ["cuda"]),
        (["train", "d", "--path", "vp-b"], ["vp-bridge"]),
        (["train", "d", "--augment", "flip,sh"], ["flip,shift"]),
        (["compare", "--with", "sdedi"], ["sdedit"]),
        (["evaluate", "a", "--metrics", "mse,ss"], ["mse,ssim"]),
        (["translate", "--guidan"], ["--guidance-scale"]),
    ]
    found = complete_all(*(words for words, _ in lines))
    assert [(words, each) for (words, _), each in zip(lines, found, strict=True)] == lines


def test_all_names_are_offered():
    lines = (["translate", "--sampler", ""], ["translate", "-m", ""], ["doctor", "--device", ""])
    samplers, models, devices = map(set, complete_all(*lines))
    assert set(names("samplers")) < samplers and set(read_registry()) <= models and set(early.DEVICES) == devices


def test_models_on_the_disk_are_offered(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    write_tiny(tmp_path / "runs" / "mine" / "model.safetensors")
    write_tiny(tmp_path / "tiny.safetensors")
    write_tiny(tmp_path / "evil\x1b[31m.safetensors")
    lines = (["translate", "-m", begun] for begun in ("", "runs/m", "runs/mine/", "evil"))
    every, *others = complete_all(*lines, folder=tmp_path)
    assert {"tiny.safetensors", "runs/mine/"} <= set(every)
    assert others == [["runs/mine/"], ["runs/mine/model.safetensors"], []]


def test_file_names_are_left_to_the_shell():
    assert complete_all(["translate", "in"], ["translate", "in", "out", "--mask", "x"]) == [[], []]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_descriptions(shell):
    samplers, models = complete_all(["translate", "--sampler", "dbim"], ["translate", "-m", "diode"], shell=shell)
    assert "dbim-2" in samplers and "dbim-3" in samplers and "diode-vp-256" in models


def test_completion_is_fast():
    """In less than 1 s of processor time more than three starts of Python."""

    def seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began = seconds()
    complete("translate", "-m", "diode")
    once = seconds() - began
    subprocess.run([sys.executable, "-c", "import typer, rich"], check=True)
    assert once < 1 + 3 * (seconds() - began - once)
