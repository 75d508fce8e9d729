"""How a run ends: divergence, signals, full disks, time budgets; the last good state is kept and the way on is said."""

import errno
import itertools
import os
import time

import pytest
import torch

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.events import Sampled, Saved, Stepped, Trained, Validated
from ddbm_cli.models import load_model
from ddbm_cli.options.recipe import Recipe
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training import Budget, loop
from tests.tiny import SMALLEST, write_pairs
from tests.training.processes import together
from tests.training.test_training import tiny_request, weights


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["loss", "gradient", "weights"])
def test_a_diverged_step_never_replaces_the_state(root, monkeypatch, value, what):
    list(run(tiny_request(root, steps=2)))
    before = (root / "run" / "state.safetensors").read_bytes()
    calls = []

    def spoil(self, *given):
        calls.append(1)
        if len(calls) >= 3:
            if what == "loss":
                return torch.tensor([value], requires_grad=True)
            parameter = next(self.denoiser.parameters())
            if what == "weights":
                with torch.no_grad():
                    parameter.flatten()[0] = value
            return original(self, *given) * (parameter.flatten()[0] * value if what == "gradient" else 1)
        return original(self, *given)

    original = loop.Fit._loss_of
    monkeypatch.setattr(loop.Fit, "_loss_of", spoil)
    with pytest.raises(DdbmError, match="diverged") as caught:
        list(run(request({"recipe": {"steps": 9, "save_every": 4}}, resume=root / "run")))
    assert f"ddbm train --resume {root / 'run'} --learning-rate" in caught.value.hint and caught.value.exit_code == 1
    assert (root / "run" / "state.safetensors").read_bytes() == before
    monkeypatch.setattr(loop.Fit, "_loss_of", original)
    assert list(run(request({"recipe": {"steps": 4, "learning_rate": 1e-5}}, resume=root / "run")))[-1].step == 4


def test_a_run_at_an_absurd_rate_can_be_resumed_at_a_sane_one(root):
    list(run(tiny_request(root, steps=4)))
    with pytest.raises(DdbmError, match="diverged"):
        list(run(request({"recipe": {"steps": 20, "learning_rate": 300, "save_every": 1}}, resume=root / "run")))
    events = list(run(request({"recipe": {"steps": 20, "learning_rate": 1e-4}}, resume=root / "run")))
    assert events[-1].step == 20 and all(tensor.isfinite().all() for tensor in weights(root / "run").values())


def test_weights_too_large_for_half_precision_are_kept(root, monkeypatch):
    events = run(tiny_request(root, steps=3, ema=0.0))
    for event in events:
        if isinstance(event, Stepped) and event.step == 3:
            fit = events.gi_yieldfrom.gi_frame.f_locals["fit"]
            with torch.no_grad():
                next(fit.averaged.parameters()).flatten()[0] = 1e5
    assert load_model(root / "run" / "model.safetensors", device="cpu").name == "run"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_run(root, name):
    arguments = ["pairs", "-o", "run", "--network", SMALLEST, "--size", 16, "-b", 2, "--steps", 9999]
    (ended,) = together(root, *arguments, count=1, strikes={0: ("event", 5, name)})
    assert ended.code == 130 and '"stopped": true' in ended.out
    assert (root / "run" / "state.safetensors").exists()
    assert next(run(request({}, resume=root / "run"), dry_run=True)).kept >= 3


@pytest.mark.parametrize("file", ["state", "model", "best"])
def test_a_full_disk_names_the_file_and_how_to_continue(root, monkeypatch, file):
    from ddbm_cli.models import checkpoint

    list(run(tiny_request(root, steps=2)))
    before = (root / "run" / "state.safetensors").read_bytes()
    original = checkpoint.replacing

    def full(path):
        if path.name == f"{file}.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return original(path)

    monkeypatch.setattr(checkpoint, "replacing", full)
    again = {"steps": 4, "validate_every": 1, "save_every": 1}
    with pytest.raises(DdbmError, match=rf"{file}\.safetensors: No space left") as caught:
        list(run(request({"recipe": again}, resume=root / "run")))
    assert "free some space" in caught.value.hint and "ddbm train --resume" in caught.value.hint
    assert (root / "run" / "state.safetensors").exists() and len(before) > 0
    monkeypatch.setattr(checkpoint, "replacing", original)
    assert list(run(request({"recipe": again}, resume=root / "run")))[-1].step == 4


def test_too_little_memory_is_explained(root, monkeypatch):
    def fail(self, *given):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(loop.Fit, "_loss_of", fail)
    with pytest.raises(DdbmError, match="not enough memory for batches of 4 at 16x16"):
        list(run(tiny_request(root)))
    with pytest.raises(DdbmError, match="GB"):
        list(run(tiny_request(root, "large", network="adm:channels=16384,multipliers=8-8,blocks=8,head_channels=64")))


def test_a_time_budget_includes_validation_samples_and_checkpoint(root):
    events = list(run(tiny_request(root, hours=1e-9, steps=100_000, val_share=0.3)))
    assert "at most 1e-09 hours" in events[0].facts["Time"] and "learning rate decays to 0" in events[0].facts["Time"]
    assert [type(event) for event in events[-4:]] == [Validated, Sampled, Saved, Trained]
    assert events[-1].step == 1 and events[-1].reason == "hours" and not events[-1].stopped
    assert events[-1].next_command == f"ddbm translate INPUT OUTPUT -m {root / 'run' / 'model.safetensors'}"
    assert events[-1].resume_command == f"ddbm train --resume {root / 'run'} --hours 1e-09"
    assert len(list((root / "run" / "samples").glob("*.png"))) == 1


def test_the_learning_rate_reaches_zero_within_the_budget(root, monkeypatch):
    clock = itertools.count(time.monotonic(), 0.02)  # each look at it takes 20 ms
    monkeypatch.setattr(time, "monotonic", clock.__next__)
    events = list(run(tiny_request(root, hours=3 / 3600, steps=100_000, warmup=0)))
    rates = [event.rate for event in events if isinstance(event, Stepped)]
    assert rates[0] == pytest.approx(5e-4) and rates[-1] < 0.2 * rates[0]
    assert all(event.total < 100_000 for event in events if isinstance(event, Stepped) and event.step > 1)


def test_a_budget_shares_its_time():
    budget = Budget(100.0, used=40.0)
    assert budget.spent == pytest.approx(40, abs=0.1) and budget.training_left(10) == pytest.approx(48, abs=0.1)
    assert budget.share_left(10) == pytest.approx(48 / 88, abs=0.01)
    assert budget.training_left(1e9) == pytest.approx(10, abs=0.1), "at most half of it is reserved"
    recipe = Recipe(steps=1000, warmup=0, lr_decay_fraction=0.25, learning_rate=1.0)
    assert [recipe.rate(0, left) for left in (1.0, 0.25, 0.125, 0.0)] == [1.0, 1.0, 0.5, 0.0]


def test_an_interrupted_budget_is_continued_and_a_spent_one_begins_again(root):
    done: list[Stepped] = []

    def stop() -> bool:
        return len(done) >= 3

    for event in run(tiny_request(root, hours=1.0, steps=50), stop=stop):
        done += [event] if isinstance(event, Stepped) else []
    facts = next(run(request({}, resume=root / "run"), dry_run=True)).facts
    assert "at most the last 1 of 1 hours" in facts["Time"]
    facts = next(run(request({"hours": 2.0}, resume=root / "run"), dry_run=True)).facts
    assert "at most 2 hours" in facts["Time"]


def test_patience_ends_a_run_whose_validation_loss_does_not_fall(root):
    """A resumed run counts as an uninterrupted one does."""
    asked = {"steps": 50, "validate_every": 1, "learning_rate": 1e-12, "patience": 3, "ema": 0.0, "save_every": 1}
    events = list(run(tiny_request(root, **asked, lr_decay_fraction=0.0)))
    assert events[-1].reason == "patience" and not events[-1].stopped and events[-1].step < 50
    last = events[-1].step
    list(
        run(
            tiny_request(root, "cut", **asked, lr_decay_fraction=0.0),
            stop=lambda: (root / "cut/best.safetensors").exists(),
        )
    )
    again = list(run(request({}, resume=root / "cut")))
    assert again[-1].step == last and again[-1].reason == "patience"


def test_the_report_has_curves_samples_and_settings(root):
    list(run(tiny_request(root, "a<b", steps=12)))
    page = (root / "a<b" / "report.html").read_text()
    assert page.count("<polyline") >= 3 and "a&lt;b" in page and "a<b" not in page
    assert 'src="data:image/png;base64,' in page and "learning_rate = 0.0005" in page
