"""--batch-size auto: the largest batch that fits, found without a step that does not, stored and kept when resumed."""

import json
import sys

import pytest
import torch

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training import batch_size, memory
from ddbm_cli.training.batch_size import LONGEST, Line, Measured, largest_batch
from ddbm_cli.training.memory import Memory, free_in_groups
from tests.tiny import SMALLEST, write_pairs
from tests.training.processes import events, together
from tests.training.test_training import same, tiny_request, weights

pytest.importorskip("accelerate")


STEPS = batch_size.Steps


class Machine:
    """A device on which a step of n rows needs `fixed` + `each` n bytes, after a start that needed `start`."""

    def __init__(self, *, each=10.0, fixed=1000.0, start=0.0, fails=None, seconds=0.1):
        self.each, self.fixed, self.peak, self.fails, self.seconds = each, fixed, max(fixed, start), fails, seconds
        self.steps = []

    def __call__(self, rows):
        self.steps.append(rows)
        if self.fails is not None and self.fixed + self.each * rows > self.fails:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.peak = max(self.peak, self.fixed + self.each * rows)
        return Measured(self.peak, self.seconds * rows)

    def largest(self, limit, **options):
        options = {"unit": 1, "most": 10**6, "line": Line(0.5 * self.fixed, self.peak)} | options
        return largest_batch(self, limit=limit, **options)


@pytest.mark.parametrize(
    ("machine", "limit", "best"),
    [
        (Machine(), 2000, 100),
        (Machine(), 5003, 400),
        (Machine(each=900), 2000, 1),
        (Machine(each=0.01), 2000, 100_000),
        (Machine(seconds=0), 9000, 800),
    ],
    ids=["plain", "odd", "one", "many", "fast"],
)
def test_the_largest_batch_is_found_and_no_step_goes_over_the_limit(machine, limit, best):
    found = machine.largest(limit)
    assert 0.9 * best <= found <= best and machine.peak <= limit and found in machine.steps


@pytest.mark.parametrize("start", [1500, 1990])
def test_steps_that_are_not_seen_are_not_taken_for_none(start):
    """A peak before the search hides smaller ones; the bound on the rows is then lower, and never too high."""
    machine = Machine(start=start)
    assert 1 <= machine.largest(2000) <= 100 and machine.peak <= 2000


def test_a_peak_can_be_forgotten():
    if not (memory.PROCESS / "clear_refs").exists():
        pytest.skip("the system cannot forget it")
    here = Memory(torch.device("cpu"))
    torch.ones(2**26)
    high = here.peak()
    here.forget_peak()
    assert here.peak() < high - 2**27 and abs(here.peak() - here.used()) < 2**24
    kept = torch.ones(2**26)
    assert here.peak() > here.used() - 2**24 > kept.nbytes


@pytest.mark.slow
def test_a_number_that_does_not_fit_is_taken_back():
    """A device that needs more for large batches than the line says, and one that fails before the limit."""

    class Bent(Machine):
        def __call__(self, rows):
            return super().__call__(rows + rows * rows // 200)

    assert 50 <= Bent(each=10).largest(3000) <= 120
    for fails in (1005, 1300, 2000):
        machine = Machine(fails=fails)
        found = machine.largest(10**9, most=4096)
        assert 0.9 * (fails - 1000) // 10 <= found <= (fails - 1000) // 10
    assert Machine(each=2000).largest(2000) == 0 == Machine(fails=1001).largest(10**9)


def test_the_number_is_a_multiple_and_has_a_limit():
    assert Machine().largest(2000, unit=16) == 96
    assert Machine().largest(10**9, most=50) == 50 and Machine().largest(10**9, most=50, unit=16) == 48
    assert Machine().largest(10**9, most=3, unit=4) == 4


def test_long_steps_are_not_done_for_the_line():
    slow = Machine(seconds=LONGEST)
    assert 95 <= slow.largest(2000, tried=False) <= 100 or slow.steps == [1]
    assert max(slow.steps) <= 2


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def broken(rows):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        largest_batch(broken, unit=1, most=4, line=Line(0, 0), limit=10)


def test_limits_of_control_groups_count(tmp_path):
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    inner = groups / "job" / "step"
    inner.mkdir(parents=True)
    own.write_text("12:cpu:/other\n0::/job/step\n")
    assert min(free_in_groups(own, groups)) > 2**60
    for folder, limit, used, cached in ((inner, "max", 500, 0), (groups / "job", "4000", 1500, 200)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 7\ninactive_file {cached}\n")
    assert min(free_in_groups(own, groups)) == 4000 - 1500 + 200
    assert min(free_in_groups(tmp_path / "missing", groups)) > 2**60


def test_several_processes_share_what_is_free(monkeypatch):
    here = Memory(torch.device("cpu"))
    monkeypatch.setattr(memory, "free_in_groups", lambda: [2**30])
    monkeypatch.setattr(Memory, "used", lambda self: 7)
    alone = here.limit()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert alone == 7 + int(0.9 * 2**30) and here.limit() == 7 + int(0.9 * 2**30) // 4


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 24)
    return tmp_path


def small(root, name="run", **changes):
    return tiny_request(root, name, network=SMALLEST, **{"batch_size": "auto", "val_share": 0.0, "steps": 3} | changes)


def limited(monkeypatch, rows):
    """Let batches of so many rows fit, by a device that needs 1 byte per row."""

    def steps(fit, batches):
        real, machine = STEPS(fit, batches), Machine(each=1, fixed=0)
        return lambda rows: real(rows) and machine(rows)

    monkeypatch.setattr(batch_size, "Steps", steps)
    monkeypatch.setattr(Memory, "peak", lambda self: 1e-9)
    monkeypatch.setattr(Memory, "limit", lambda self: rows)
    monkeypatch.setattr(batch_size, "_fixed", lambda fit: 0)
    monkeypatch.setattr(batch_size, "to_come", lambda fit: 0)


def stored(folder):
    return json.loads((folder / "config.json").read_text())["recipe"]["batch_size"]


def test_the_chosen_number_is_stored_and_resumed(root, monkeypatch):
    limited(monkeypatch, 10)
    events = list(run(small(root)))
    assert stored(root / "run") == 10
    assert events[0].facts["Recipe"].startswith("3 steps of 10,") and "largest that fits" in events[0].facts["Recipe"]
    list(run(small(root, "number", batch_size=10)))
    assert same(weights(root / "run"), weights(root / "number"))
    limited(monkeypatch, 5)
    assert list(run(small(root)))[-1].step == 3 and stored(root / "run") == 10  # the very same command resumes it
    list(run(request({"recipe": {"batch_size": "auto", "steps": 5}}, resume=root / "run")))
    assert stored(root / "run") == 10
    list(run(small(root, "other")))
    assert stored(root / "other") == 5


def test_parts_divide_the_number(root, monkeypatch):
    limited(monkeypatch, 11)
    list(run(small(root, compute={"accumulate": 4})))
    assert stored(root / "run") == 8


def test_no_batch_fits(root, monkeypatch):
    limited(monkeypatch, 0.5)
    with pytest.raises(DdbmError, match="not enough memory for batches of 1 at 16x16") as caught:
        list(run(small(root)))
    assert "smaller --size" in caught.value.hint and not (root / "run").exists()


def test_without_accelerate_the_number_must_be_given(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate.utils.memory", None)
    with pytest.raises(UsageError, match="needs accelerate") as caught:
        list(run(small(root)))
    assert "pip install 'ddbm-cli[train]'" in caught.value.hint
    (event,) = run(small(root, batch_size=4), dry_run=True)
    assert "needs accelerate" in event.facts["Largest batch"]


def test_two_processes_agree_on_one_number(root):
    numbers = ["--size", 16, "--val-share", 0, "-b", "auto", "--accumulate", 5, "--steps", 1, "--network", SMALLEST]
    events(together(root, "pairs", "-o", "run", *numbers))
    assert stored(root / "run") == 20  # 2 processes, each with 2 times 5 of 24 pairs


def test_all_pairs_fit_a_large_memory(root):
    """Nothing is simulated here: real steps, and the memory of this machine."""
    list(run(small(root, steps=1)))
    assert stored(root / "run") == 24
    (event,) = run(small(root, None, batch_size=4), dry_run=True)
    assert event.facts["Largest batch"] == "24 pairs, as many as there are to train on"


def test_a_peak_that_is_reported_lower_than_before_leaves_the_line_rising():
    line = Line(base=10, peak=100)
    for rows, peak in ((2, 200), (4, 199), (8, 200), (10, 200)):
        line.add(rows, peak)
    assert (line.peak, line.rows) == (200, 10) and line.most(1000) >= 10
