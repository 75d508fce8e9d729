"""Shell completion, as a shell asks for it."""

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
import os, sys
sys.modules["torch"] = None
sys.argv = ["ddbm"]
from ddbm_cli.cli.main import main
main()
"""


def complete(*words, folder=None, shell="bash"):
    """Return what the last word may become."""
    environment = dict(os.environ)
    if shell == "bash":
        environment |= {"_DDBM_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(["ddbm", *words])}
        environment |= {"COMP_CWORD": str(len(words))}
    else:
        environment |= {"_DDBM_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": " ".join(["ddbm", *words])}
        environment |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr
    return done.stdout.split() if shell == "bash" else done.stdout


def test_commands():
    assert {"translate", "sample", "train", "weights", "data", "manual"} <= set(complete(""))
    assert complete("tra") == ["translate", "train"]
    assert complete("weights", "pu") == ["pull", "push"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
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
    ],
    ids=lambda each: " ".join(each),
)
def test_values(words, expected):
    assert complete(*words) == expected


def test_all_names_are_offered():
    assert set(names("samplers")) < set(complete("translate", "--sampler", ""))
    assert set(read_registry()) <= set(complete("translate", "-m", ""))
    assert set(early.DEVICES) == set(complete("doctor", "--device", ""))


def test_models_on_the_disk_are_offered(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    write_tiny(tmp_path / "runs" / "mine" / "model.safetensors")
    write_tiny(tmp_path / "tiny.safetensors")
    write_tiny(tmp_path / "evil\x1b[31m.safetensors")
    assert {"tiny.safetensors", "runs/mine/"} <= set(complete("translate", "-m", "", folder=tmp_path))
    assert complete("translate", "-m", "runs/m", folder=tmp_path) == ["runs/mine/"]
    assert complete("translate", "-m", "runs/mine/", folder=tmp_path) == ["runs/mine/model.safetensors"]
    assert complete("translate", "-m", "evil", folder=tmp_path) == []


def test_file_names_are_left_to_the_shell():
    assert complete("translate", "in") == [] and complete("translate", "in", "out", "--mask", "x") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_descriptions(shell):
    out = complete("translate", "--sampler", "dbim", shell=shell)
    assert "dbim-2" in out and "dbim-3" in out
    assert "diode-vp-256" in complete("translate", "-m", "diode", shell=shell)


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
