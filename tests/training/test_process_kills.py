"""SIGKILL of processes that train together, also inside a save: no bit of a resumed run differs."""

import random

import pytest

from tests.tiny import SMALLEST
from tests.training.interruptions import check_same, interrupted
from tests.training.processes import events, together
from tests.training.test_processes import KINDS, pictures

SIZES = ["--steps", 24, "--save-every", 4, "--validate-every", 6]
SEVERAL = ["pairs", "--network", SMALLEST, "--size", 16, "--val-share", 0.3, "-b", 4, "--warmup", 2]
SEVERAL += ["--ema", "0.5,0.9", "--keep", 3, *SIZES]
"""Several averages, of which validations choose one, and several checkpoints."""

LARGEST = {"event": 10, "write": 3, "time": 100}
"""The last moment of each kind that a kill is drawn from."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def whole(root):
    events(together(root, *SEVERAL, "-o", "whole"))
    return "whole"


def test_kills_of_one_or_both_change_nothing(root, whole):
    kills = [{0: ("write", 1)}, {1: ("event", 4)}, {0: ("event", 6), 1: ("event", 6)}]
    assert interrupted(root, "killed", SEVERAL, kills) == 3
    check_same(root, whole, "killed")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_change_nothing(root, whole):
    dice = random.Random(0)
    kills = []
    for kind in dice.choices(list(LARGEST), k=20):
        who = dice.choice([(0,), (1,), (0, 1)])
        kills.append({rank: (kind, dice.randint(1, LARGEST[kind])) for rank in who})
    assert interrupted(root, "killed-often", SEVERAL, kills) >= 8
    check_same(root, whole, "killed-often")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_kills_change_nothing_in_other_trainings(root, kind):
    """Critics, fake bridges and moments of latents are as they were."""
    arguments = [*KINDS[kind], *SIZES[:4], "--validate-every", 12]
    events(together(root, *arguments, "-o", f"{kind}-whole"))
    kills = [{0: ("write", 1)}, {1: ("event", 7)}, {0: ("event", 9), 1: ("event", 9)}]
    assert interrupted(root, f"{kind}-killed", arguments, kills) == 3
    check_same(root, f"{kind}-whole", f"{kind}-killed")
