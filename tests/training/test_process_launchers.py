"""The launchers themselves: `torchrun` and `accelerate launch` start processes that train together."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import SMALLEST, write_pairs
from tests.training.test_training import same, weights

OPTIONS = ["pairs", "--network", SMALLEST, "--size", "16", "--val-share", "0.3", "-b", "4", "-d", "cpu"]
OPTIONS += ["--validate-every", "6", "--warmup", "2", "--lr-decay-fraction", "0", "--json"]

BINARIES = Path(sys.executable).parent
MODULE, SCRIPT = ["-m", "ddbm_cli"], [str(BINARIES / "ddbm")]
TORCHRUN = [
    str(BINARIES / "torchrun"),
    "--nproc-per-node",
    "2",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
    "localhost:0",
]
ACCELERATE = [str(BINARIES / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
ACCELERATE += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
LAUNCHERS = {"torchrun": TORCHRUN, "accelerate": ACCELERATE}
FSDP = [*ACCELERATE[:2], "--use_fsdp", "--fsdp_version", "2", *ACCELERATE[3:]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(shutil.which(launcher[0]) for launcher in LAUNCHERS.values()), reason="needs both launchers"
    ),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("launchers")
    write_pairs(root / "pairs", 12)
    return root


def started(root, *command):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(list(command), cwd=root, env=environment, start_new_session=True, **pipes)


def ran(root, *command):
    """Run a command; return its exit code, and what it wrote."""
    process = started(root, *command)
    out, err = process.communicate()
    return process.returncode, out, err


def errors(text):
    return [line for line in text.splitlines() if line.startswith("Error:")]


@pytest.mark.parametrize("name", [*LAUNCHERS, "fsdp"])
def test_a_launched_run_ends_and_is_resumed(root, name):
    launcher = {**LAUNCHERS, "fsdp": FSDP}[name]
    code, out, err = ran(root, *launcher, *MODULE, "train", *OPTIONS, "--steps", "8", "-o", f"{name}-whole")
    assert code == 0 and "2 processes" in err and ("divided by FSDP" in err) == (name == "fsdp")
    assert out.count('"event": "trained"') == 1, err
    code, _, err = ran(root, *launcher, *MODULE, "train", *OPTIONS, "--steps", "4", "-o", f"{name}-parts")
    assert code == 0, err
    code, _, err = ran(root, *launcher, *SCRIPT, "train", "--resume", f"{name}-parts", "--steps", "8", "-d", "cpu")
    assert code == 0 and "at step 4 of 8" in err, err
    assert same(weights(root / f"{name}-whole"), weights(root / f"{name}-parts"))


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_saves_once(root, name, number):
    output = f"{name}-{number.name}"
    process = started(root, *LAUNCHERS[name], *MODULE, "train", *OPTIONS, "--steps", "100000", "-o", output)
    for line in process.stdout:
        if '"step": 3,' in line:
            break
    process.send_signal(number)
    out, err = process.communicate()
    assert out.count('"event": "saved"') == 1 and out.count('"reason": "stopped"') == 1, err
    assert not errors(err) and (root / output / "state.safetensors").exists()


@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize("program", [MODULE, SCRIPT], ids=["module", "script"])
def test_an_error_is_printed_once(root, name, program):
    code, out, err = ran(root, *LAUNCHERS[name], *program, "train", "nowhere", "-o", "refused", "--json")
    assert code != 0 and errors(err) == ["Error: nowhere: no such file or folder (data)"]
    assert out.count('"event": "error"') == 1 and "ddbm_cli/" not in err.replace("ddbm_cli FAILED", "")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_killed_process_ends_the_launcher(root, rank):
    process = started(root, *TORCHRUN, *MODULE, "train", *OPTIONS, "--steps", "100000", "-o", f"killed-{rank}")
    for line in process.stdout:
        if '"step": 3,' in line:
            break
    listed = subprocess.run(
        ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    for pid in listed.stdout.split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{pid}/environ").read_text():
            os.kill(int(pid), signal.SIGKILL)
    _, err = process.communicate()
    (line,) = errors(err)
    assert process.returncode != 0 and "another process of this training has ended" in line
