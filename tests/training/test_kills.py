"""SIGKILL at any moment, also inside a save: the resumed run is bit-identical to an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ddbm_cli.tasks.train import request, run
from tests.tiny import write_pairs
from tests.training.test_training import SMALLEST, same, tiny_request, weights

SERVER = """
import os, signal, sys, threading, torch
from pathlib import Path
torch.set_num_threads(1)
from ddbm_cli.models import checkpoint
from ddbm_cli.tasks.train import request, run

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in_write(number):  # the file has its header and half of its tensors; it is not renamed yet
    original, writes = checkpoint.os.fsync, []
    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) == number:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            kill()
        original(descriptor)
    checkpoint.os.fsync = fsync

def train(kind, number):
    if kind == "write":
        kill_in_write(number)
    for count, event in enumerate(run(request({}, resume=Path(sys.argv[1]))), start=1):
        if kind == "event" and count == number:
            kill()
        if kind == "time" and count == 2:
            threading.Timer(number / 1000, kill).start()

for line in sys.stdin:
    kind, number = line.split()
    child = os.fork()
    if not child:
        train(kind, int(number))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Resumes a run in new processes, each of which is killed at a moment read from standard input: the kind and number."""

SIZES = {"steps": 24, "save_every": 4, "validate_every": 6, "network": SMALLEST}


def interrupted(root, kills):
    """Run to the end in spite of kills, each (kind, number); return how many took effect."""
    list(run(tiny_request(root, "killed", **SIZES), stop=lambda: True))
    command = [sys.executable, "-c", SERVER, str(root / "killed")]
    given = "".join(f"{kind} {number}\n" for kind, number in kills)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    codes = [int(line) for line in done.stdout.split()]
    assert len(codes) == len(kills) and set(codes) <= {0, -signal.SIGKILL}, done.stderr
    list(run(request({}, resume=root / "killed")))
    return sum(code != 0 for code in codes)


def check(root):
    names = [
        sorted(
            file.name for file in (root / name).rglob("*") if not file.name.startswith((".ddbm-lock", "events.out."))
        )
        for name in ("whole", "killed")
    ]
    assert names[0] == names[1]  # TensorBoard has a file for each session
    assert same(weights(root / "whole"), weights(root / "killed"))
    tables = [(root / name / "results.csv").read_text() for name in ("whole", "killed")]
    assert tables[0] == tables[1]


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    list(run(tiny_request(tmp_path, "whole", **SIZES)))
    return tmp_path


def test_kills_between_and_inside_saves_change_nothing(root):
    assert interrupted(root, [("event", 7), ("write", 1), ("write", 4), ("time", 40)]) >= 3
    check(root)


@pytest.mark.slow
def test_twenty_kills_change_nothing(root):
    dice = random.Random(0)
    kinds = {"event": 8, "write": 3, "time": 100}
    kills = [(kind, dice.randint(1, kinds[kind])) for kind in dice.choices(list(kinds), k=20)]
    assert interrupted(root, kills) >= 10
    check(root)


def test_a_kill_of_the_command_is_resumed(root):
    """By the command line, as a user would."""
    asked = tiny_request(root, "killed", **SIZES)
    list(run(asked, stop=lambda: True))
    command = [sys.executable, "-m", "ddbm_cli", "train", "--resume", str(root / "killed"), "-d", "cpu", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    for line in process.stdout:
        if '"step": 9,' in line:
            break
    time.sleep(0.01)
    process.kill()
    process.communicate()
    assert subprocess.run(command, capture_output=True, env=environment, check=False).returncode == 0
    check(root)
