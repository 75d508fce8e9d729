"""--dry-run: what a training will need, compared with what it then takes."""

import re
import time

import pytest
import torch

from ddbm_cli.tasks.train import run
from tests.tiny import write_pairs
from tests.training.test_training import tiny_request


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


def planned(asked):
    (event,) = run(asked, dry_run=True)
    return event.facts


def test_a_dry_run_measures_speed_memory_and_disk_and_writes_nothing(root):
    before = torch.get_rng_state()
    facts = planned(tiny_request(root, steps=1000))
    assert before.shape == torch.get_rng_state().shape and not (root / "run").exists()
    pace, hours, steps = re.match(r"([\d.e+-]+) steps per second: (\S+) hours for (\d+) steps", facts["Speed"]).groups()
    assert int(steps) == 1000 and float(hours) == pytest.approx(1000 / float(pace) / 3600, rel=0.02)
    assert re.match(r"[\d.]+ GiB", facts["Memory"]) and "are free" in facts["Disk"]


def test_the_disk_that_is_needed_is_that_of_the_files(root):
    facts = planned(tiny_request(root, steps=2))
    list(run(tiny_request(root, steps=2)))
    state, model, best = ((root / "run" / f"{name}.safetensors").stat().st_size for name in ("state", "model", "best"))
    needed = float(re.match(r"[\d.]+", facts["Disk"])[0]) * 2**30
    assert needed == pytest.approx(2 * state + model + best, abs=0.01 * 2**30)


@pytest.mark.slow
def test_the_speed_is_that_of_the_run(root):
    """Within 15 %, on a machine that does nothing else."""
    facts = planned(tiny_request(root, "run", steps=300, save_every=1000, validate_every=1000, val_share=0.0))
    pace = float(re.match(r"[\d.]+", facts["Speed"])[0])
    began = time.monotonic()
    events = [event for event in run(tiny_request(root, steps=300, save_every=1000, val_share=0.0))]
    assert events[-1].step == 300
    assert 300 / pace == pytest.approx(events[-1].seconds, rel=0.15) and time.monotonic() > began
