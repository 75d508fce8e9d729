"""--dry-run: what a training will need, compared with what it then takes."""

import re
from types import SimpleNamespace

import pytest

from ddbm_cli.options.recipe import Recipe
from ddbm_cli.tasks.train import estimate, request, run
from ddbm_cli.tasks.train.crossing import CrossValidation
from ddbm_cli.tasks.train.validation import Validation
from ddbm_cli.training import Budget, Fit, couplings
from ddbm_cli.training.couplings import Couplings, Rounds
from ddbm_cli.training.mean_matching import MeanMatching
from tests.tiny import write_pairs
from tests.training.test_training import tiny_request


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


def planned(asked):
    (event,) = run(asked, dry_run=True)
    return event.facts


def test_a_dry_run_measures_speed_memory_and_disk_and_writes_nothing(root, monkeypatch):
    monkeypatch.setattr(Validation, "expected", lambda self, averages: 30.0)
    facts = planned(tiny_request(root, steps=1000, validate_every=300))
    assert not (root / "run").exists()
    pace = float(re.fullmatch(r"([\d.e+-]+) steps per second", facts["Speed"])[1])
    hours, steps, count = re.fullmatch(r"(\S+) hours for (\d+) steps and (\d+) validations", facts["Needs"]).groups()
    assert (steps, count) == ("1000", "4") and float(hours) == pytest.approx((1000 / pace + 120) / 3600, rel=0.02)
    assert re.match(r"[\d.]+ (MiB|GiB)", facts["Memory"]) and "are free" in facts["Disk"]


def test_a_dry_run_of_a_run_leaves_it_as_it_is(root):
    list(run(tiny_request(root, steps=6, validate_every=2)))
    before = {file: file.read_bytes() for file in sorted((root / "run").rglob("*")) if file.is_file()}
    (event,) = run(
        request(
            {"recipe": {"steps": 10}},
            resume=root / "run",
        ),
        dry_run=True,
    )
    assert "for 4 steps and 2 validations" in event.facts["Needs"]
    assert before == {file: file.read_bytes() for file in sorted((root / "run").rglob("*")) if file.is_file()}


def test_a_dry_run_with_a_time_budget_tells_how_far_it_comes(monkeypatch):
    recipe, budget = Recipe(steps=1000, validate_every=100), Budget(3600.0)
    monkeypatch.setattr(Budget, "spent", 600.0)
    assert estimate._time(recipe, 0, 10.0, 0.0, budget) == "about 300 of 1000 steps in 1 hours"
    assert estimate._time(recipe, 0, 10.0, 500.0, budget) == "about 160 of 1000 steps in 1 hours"
    assert estimate._time(recipe, 900, 10.0, 500.0, budget) == "0.417 hours for 100 steps and 1 validations"
    assert estimate._time(recipe, 0, 10.0, 0.0, None) == "2.78 hours for 1000 steps"


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "prior"},
        {"task": "autoencoder", "size": 32, "network": "autoencoder", "objective": "reconstruction:perceptual=0"},
        {"objective": "pix2pix", "network": "pix2pix:channels=8,depth=3"},
        {"ema": (0.9, 0.99)},
        {"task": "schrodinger"},
    ],
    ids=["prior", "autoencoder", "pix2pix", "averages", "schrodinger"],
)
def test_every_task_can_be_estimated(root, changes, monkeypatch):
    monkeypatch.setattr(estimate, "MOST_STEPS", 2)
    facts = planned(tiny_request(root, **changes))
    assert (
        "2 validations" in facts["Needs"]
        and ("unknown" if "schrodinger" in changes.values() else "pairs") in facts["Largest batch"]
    )


@pytest.mark.parametrize(("more", "simulated"), [({}, 4), ({"matching": "mean", "path": "brownian"}, 6)])
def test_simulated_pairs_take_time(root, monkeypatch, more, simulated):
    """Each batch of a round is simulated once, in a dry run too where steps simulate theirs again."""
    clock = [0.0]
    monkeypatch.setattr(estimate, "MOST_SECONDS", 1e9)

    def lasting(seconds, original):
        def longer(*given):
            clock[0] += seconds
            return original(*given)

        return longer

    for kind in (Couplings, MeanMatching):
        monkeypatch.setattr(kind, "_simulated", lasting(100, kind._simulated))
    monkeypatch.setattr(Fit, "try_step", lasting(1, Fit.try_step))
    monkeypatch.setattr(CrossValidation, "expected", lambda self, averages: 0.0)
    for module in (estimate, couplings):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    rounds = {"first_round_steps": 6, "round_steps": 5, "simulation_steps": 3, "cache_pairs": 8}
    facts = planned(tiny_request(root, task="schrodinger", steps=16, **rounds, **more))
    assert facts["Speed"] == "1 steps per second"
    expected = f"{(16 + 100 * simulated) / 3600:.3g} hours for 16 steps, {simulated / 36:.2g} of them to simulate pairs"
    assert facts["Needs"] == expected


def test_the_batches_of_a_round_are_simulated_once():
    rounds = Rounds(first=6, each=5, batches=2)
    for step in range(18):
        for end in range(step, 18):
            used = {(rounds.number(each), rounds.place(each)) for each in range(step, end)}
            new = used - {(rounds.number(each), rounds.place(each)) for each in range(step)}
            first = sum(number == 0 for number, _ in new)
            assert rounds.new_batches(step, end) == (first, len(new) - first)


def test_the_disk_that_is_needed_is_that_of_the_files(root):
    facts = planned(tiny_request(root, steps=2))
    list(run(tiny_request(root, steps=2)))
    state, model, best = ((root / "run" / f"{name}.safetensors").stat().st_size for name in ("state", "model", "best"))
    number, unit = re.match(r"([\d.]+) (MiB|GiB)", facts["Disk"]).groups()
    needed = float(number) * 2 ** {"MiB": 20, "GiB": 30}[unit]
    assert needed == pytest.approx(2 * state + model + best, rel=0.05, abs=0.1 * 2**20)
