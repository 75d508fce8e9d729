"""SIGKILL at any moment, also inside a save: the resumed run is bit-identical to an uninterrupted one."""

import random
import signal
import time

import pytest

from ddbm_cli.tasks.train import run
from tests.forked import running
from tests.tiny import SMALLEST, write_pairs
from tests.training.interruptions import check_same, interrupted
from tests.training.test_training import tiny_request

SIZES = {"steps": 24, "save_every": 4, "validate_every": 6, "network": SMALLEST}


def begun(root):
    """Begin a run, and stop it before its first step."""
    list(run(tiny_request(root, "killed", **SIZES), stop=lambda: True))


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    list(run(tiny_request(tmp_path, "whole", **SIZES)))
    return tmp_path


def test_kills_between_and_inside_saves_change_nothing(root):
    begun(root)
    kills = [{0: moment} for moment in (("event", 7), ("write", 1), ("write", 4), ("time", 40))]
    assert interrupted(root, "killed", [], kills, count=1) >= 3
    check_same(root, "whole", "killed")


@pytest.mark.slow
def test_twenty_kills_change_nothing(root):
    dice = random.Random(0)
    kinds = {"event": 8, "write": 3, "time": 100}
    kills = [{0: (kind, dice.randint(1, kinds[kind]))} for kind in dice.choices(list(kinds), k=20)]
    begun(root)
    assert interrupted(root, "killed", [], kills, count=1) >= 10
    check_same(root, "whole", "killed")


def test_a_kill_of_the_command_is_resumed(root, ddbm):
    """By the command line, as a user would."""
    begun(root)
    arguments = ["train", "--resume", str(root / "killed"), "-d", "cpu", "--json"]
    with running(*arguments) as (process, out, _):
        for line in out:
            if b'"step": 9,' in line:
                break
        time.sleep(0.01)
    assert process.exitcode == -signal.SIGKILL and ddbm(*arguments)[0] == 0
    check_same(root, "whole", "killed")
