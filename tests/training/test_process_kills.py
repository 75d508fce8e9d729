"""SIGKILL of processes that train together, also inside a save: no bit of a resumed run differs."""

import random
import signal

import pytest

from tests.training.processes import events, together
from tests.training.test_processes import KINDS, pictures, said
from tests.training.test_training import SMALLEST, same, weights

SIZES = ["--steps", 24, "--save-every", 4, "--validate-every", 6]
SEVERAL = ["pairs", "--network", SMALLEST, "--size", 16, "--val-share", 0.3, "-b", 4, "--warmup", 2]
SEVERAL += ["--ema", "0.5,0.9", "--keep", 3, *SIZES]
"""Several averages, of which validations choose one, and several checkpoints."""

LARGEST = {"event": 10, "write": 3, "time": 100}
"""The last moment of each kind that a kill is drawn from."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("kills"))


def files(folder):
    names = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return sorted(name for name in names if not name.name.startswith((".ddbm-lock", "events.out.")))


def interrupted(root, output, arguments, kills):
    """Run to the end in spite of kills, each by rank (kind, number); return how many took effect."""
    count = 0
    for number, strikes in enumerate(kills):
        given = ["--resume", output] if (root / output / "config.json").exists() else [*arguments, "-o", output]
        signals = {rank: (*moment, "SIGKILL") for rank, moment in strikes.items()}
        ended = together(root, *given, strikes=signals)
        killed = [each.code == -signal.SIGKILL for each in ended]
        count += any(killed)
        if any(killed) and not all(killed):
            (left,) = (each for each, gone in zip(ended, killed, strict=True) if not gone)
            # It may have ended before the kill.
            assert (left.code, len(said([left]))) in ((1, 1), (0, 0)), (number, strikes, left)
    events(together(root, "--resume", output))
    return count


def check(root, whole, other):
    assert files(root / whole) == files(root / other)
    assert same(weights(root / whole), weights(root / other))
    for name in files(root / whole):
        if name.suffix in (".safetensors", ".csv") and name.name != "metrics.csv":
            one, two = ((root / folder / name).read_bytes() for folder in (whole, other))
            same_file = (
                one == two if name.suffix == ".csv" else tensors(root / whole / name) == tensors(root / other / name)
            )
            assert same_file, name


def tensors(file):
    """The tensors of a file as bytes, without its header, which has the time."""
    from safetensors.torch import load_file

    return {name: value.numpy().tobytes() for name, value in load_file(file).items()}


@pytest.fixture(scope="module")
def whole(root):
    events(together(root, *SEVERAL, "-o", "whole"))
    return "whole"


def test_kills_of_one_or_both_change_nothing(root, whole):
    kills = [{0: ("write", 1)}, {1: ("event", 4)}, {0: ("event", 6), 1: ("event", 6)}, {0: ("write", 2)}]
    assert interrupted(root, "killed", SEVERAL, kills) == 4
    check(root, whole, "killed")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_change_nothing(root, whole):
    dice = random.Random(0)
    kills = []
    for kind in dice.choices(list(LARGEST), k=20):
        who = dice.choice([(0,), (1,), (0, 1)])
        kills.append({rank: (kind, dice.randint(1, LARGEST[kind])) for rank in who})
    assert interrupted(root, "killed-often", SEVERAL, kills) >= 8
    check(root, whole, "killed-often")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_kills_change_nothing_in_other_trainings(root, kind):
    """Critics, fake bridges and moments of latents are as they were."""
    arguments = [*KINDS[kind], *SIZES[:4], "--validate-every", 12]
    events(together(root, *arguments, "-o", f"{kind}-whole"))
    kills = [{0: ("write", 1)}, {1: ("event", 7)}, {0: ("event", 9), 1: ("event", 9)}]
    assert interrupted(root, f"{kind}-killed", arguments, kills) == 3
    check(root, f"{kind}-whole", f"{kind}-killed")
