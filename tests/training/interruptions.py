"""Runs that are stopped or killed, and resumed: what they leave is that of an undisturbed run."""

import signal

from safetensors.torch import load_file

from ddbm_cli.tasks.train import request, run
from ddbm_cli.training import Saved
from tests.training.processes import events, said, together
from tests.training.test_training import same, weights


def stopped_and_resumed(made):
    """Run, stop after the first checkpoint as after Ctrl-C, and resume to the end."""
    saved = []
    for event in run(made, stop=lambda: bool(saved)):
        if isinstance(event, Saved):
            saved.append(event)
    list(run(request({}, resume=made.output)))


def interrupted(root, output, arguments, kills, *, count=2, **environment):
    """Run to the end by the command in spite of kills, each by rank (kind, number); return how many took effect.

    Args:
        output: the run's folder; where a run is in it, that is resumed.
        arguments: of a run that is not begun yet.
        kills: see `together`.
        count: of processes.
    """
    effective = 0
    for number, strikes in enumerate(kills):
        given = ["--resume", output] if (root / output / "config.json").exists() else [*arguments, "-o", output]
        signals = {rank: (*moment, "SIGKILL") for rank, moment in strikes.items()}
        ended = together(root, *given, count=count, strikes=signals, **environment)
        killed = [each.code == -signal.SIGKILL for each in ended]
        effective += any(killed)
        left = [each for each, gone in zip(ended, killed, strict=True) if not gone]
        # One that is left may have ended before the kill.
        allowed = ((1, 1), (0, 0)) if any(killed) else ((0, 0),)
        assert all((each.code, len(said([each]))) in allowed for each in left), (number, strikes, left)
    events(together(root, "--resume", output, count=count, **environment))
    return effective


def check_same(root, whole, other):
    """Check that two runs left the same files; TensorBoard has a file for each session, and metrics.csv has times."""
    assert files(root / whole) == files(root / other)
    assert same(weights(root / whole), weights(root / other))
    for name in files(root / whole):
        one, two = (root / folder / name for folder in (whole, other))
        if name.suffix == ".csv" and name.name != "metrics.csv":
            assert one.read_bytes() == two.read_bytes(), name
        if name.suffix == ".safetensors":
            assert tensors(one) == tensors(two), name


def files(folder):
    """The names of the files in a folder, without those of a session."""
    names = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return sorted(name for name in names if not name.name.startswith((".ddbm-lock", "events.out.")))


def tensors(file):
    """The tensors of a file as bytes, without its header, which has the time."""
    return {name: value.numpy().tobytes() for name, value in load_file(file).items()}
