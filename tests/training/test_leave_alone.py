"""Runs that are left alone: checkpoints that are kept, a full disk, skipped steps, and several averages."""

import shutil
from collections import namedtuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Stepped
from ddbm_cli.models.card import read_card
from ddbm_cli.models.checkpoint import read_header
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training import checkpoints, loop
from tests.tiny import SMALLEST, write_pairs
from tests.training.test_training import same, tiny_request, weights


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


def small(root, name="run", **changes):
    return tiny_request(root, name, network=SMALLEST, **{"save_every": 2, "steps": 8} | changes)


def test_the_last_checkpoints_are_kept_and_each_can_be_resumed(root):
    list(run(small(root, "one")))
    list(run(small(root, keep=2)))
    folder = root / "run" / "checkpoints"
    assert sorted(file.name for file in folder.iterdir()) == ["step_0000006.safetensors", "step_0000008.safetensors"]
    assert not (root / "one" / "checkpoints").exists() and same(weights(root / "one"), weights(root / "run"))
    events = list(run(request({}, resume=folder / "step_0000006.safetensors")))
    assert events[0].kept == 6 and events[-1].step == 8
    assert same(weights(root / "one"), weights(root / "run"))
    with pytest.raises(UsageError, match="no such checkpoint"):
        list(run(request({}, resume=folder / "step_0000004.safetensors")))


def test_files_that_are_no_checkpoints_stay(root):
    list(run(small(root, keep=2)))
    folder = root / "run" / "checkpoints"
    (folder / "mine.safetensors").write_text("mine")
    (folder / "step_0000001.safetensors").write_text("not a state")
    shutil.copy(folder / "step_0000006.safetensors", folder / "step_0000002.safetensors")
    list(run(request({"recipe": {"steps": 12}}, resume=root / "run")))
    names = {file.name for file in folder.iterdir()}
    assert {"mine.safetensors", "step_0000001.safetensors", "step_0000002.safetensors"} < names and len(names) == 5


def test_a_save_without_room_ends_the_run_and_keeps_the_state(root, monkeypatch):
    list(run(small(root, steps=2)))
    before = (root / "run" / "state.safetensors").read_bytes()
    usage, free = namedtuple("usage", "total used free"), [2**40, 1000]
    monkeypatch.setattr(
        checkpoints.shutil, "disk_usage", lambda path: usage(2**40, 0, free.pop(0) if len(free) > 1 else free[0])
    )
    needed = r"state\.safetensors: a save needs .* MiB of the disk, and 0\.0 MiB are free"
    with pytest.raises(DdbmError, match=needed) as caught:
        list(run(request({"recipe": {"steps": 6}}, resume=root / "run")))
    assert caught.value.hint.startswith("free some space, then resume")
    assert (root / "run" / "state.safetensors").read_bytes() == before


def spoiled(monkeypatch, odd):
    original, calls = loop.Fit._loss_of, []

    def spoil(self, *given):
        calls.append(1)
        return original(self, *given) * (float("nan") if len(calls) in odd else 1)

    monkeypatch.setattr(loop.Fit, "_loss_of", spoil)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_that_are_not_finite_are_skipped_and_counted(root, monkeypatch, precision):
    spoiled(monkeypatch, {3, 4})
    events = list(run(small(root, precision=precision, validate_every=100, val_share=0.0)))
    assert [event.skipped for event in events if isinstance(event, Stepped)] == [0, 0, 1, 2, 2, 2, 2, 2]
    assert all(tensor.isfinite().all() for tensor in weights(root / "run").values())
    with safe_open(root / "run" / "state.safetensors", framework="pt") as file:
        steps = {float(file.get_tensor(name)) for name in file.keys() if name.endswith(".step")}  # noqa: SIM118
        assert steps == {6.0} and '"skipped": 2' in file.metadata()["ddbm.training"]


def test_too_many_skipped_steps_end_the_run_with_the_last_good_state(root, monkeypatch):
    spoiled(monkeypatch, set(range(4, 100)))
    with pytest.raises(DdbmError, match="in 3 steps in a row, the last at step 6"):
        list(run(small(root, max_skipped=2)))
    assert next(iter(run(request({}, resume=root / "run"), dry_run=True))).kept == 2


def test_several_averages_are_validated_and_the_best_is_the_model(root):
    list(run(small(root, "one", ema=0.1, learning_rate=1e-2)))
    list(run(small(root, ema=(0.1, 0.999), learning_rate=1e-2)))
    one, both = weights(root / "one"), weights(root / "run")
    assert all(torch.equal(one[name], both[name]) for name in one)
    assert any(name.startswith("average_2.") for name in both)
    header, *rows = [line.split(",") for line in (root / "run" / "results.csv").read_text().splitlines()]
    last = dict(zip(header, rows[-1], strict=True))
    losses = {decay: float(last[f"loss_ema_{decay:g}"]) for decay in (0.1, 0.999)}
    assert float(last["loss"]) == min(losses.values()) and len(set(losses.values())) == 2
    card = read_card(read_header(root / "run" / "model.safetensors"), file="model")
    assert card.training["ema"] == min(losses, key=losses.__getitem__)


def test_several_averages_and_checkpoints_resume_to_the_bit(root):
    """Averages of several decays are in each kept checkpoint, with the choice; a run ends alike from any of them."""
    settings = {"ema": (0.9, 0.1, 0.999), "keep": 3, "learning_rate": 1e-2, "validate_every": 3}
    list(run(small(root, "whole", **settings)))
    stopping = small(root, **settings)
    list(run(stopping, stop=lambda: (root / "run" / "samples" / "step_0000003.png").exists()))
    assert next(iter(run(request({}, resume=root / "run")))).kept in (3, 4)
    list(run(request({}, resume=root / "run")))
    whole = weights(root / "whole")
    assert {"average", "average_2", "average_3"} < {name.partition(".")[0] for name in whole}
    assert same(whole, weights(root / "run"))
    list(run(request({}, resume=root / "run" / "checkpoints" / "step_0000004.safetensors")))
    assert same(whole, weights(root / "run"))
    for name in ("model.safetensors", "best.safetensors"):
        files = [load_file(root / each / name) for each in ("whole", "run")]
        assert same(*files), name
    cards = [read_card(read_header(root / each / "model.safetensors"), file="model") for each in ("whole", "run")]
    assert cards[0].training["ema"] == cards[1].training["ema"] and cards[0].scores == cards[1].scores
    tables = [(root / each / "results.csv").read_text() for each in ("whole", "run")]
    assert tables[0] == tables[1]
