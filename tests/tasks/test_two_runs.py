"""Two runs on one folder share the work, and memory stays bounded."""

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ddbm_cli.foundation.files import temporary_name
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.memory import Budget
from ddbm_cli.tasks import making, saving
from ddbm_cli.tasks.events import Evaluated, Failed, Finished, Kept, Planned, Written
from ddbm_cli.tasks.translate import request, run
from tests import forked
from tests.tasks.test_translate import kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(6):
        picture(index, 40).save(tmp_path / "in" / f"{index}.png")
    return tmp_path


def asked(root, model, output="out", **options):
    return request(source=str(root / "in"), output=root / output, model=model, device="cpu", **options)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.jsonl"}


def test_a_second_run_shares_the_work(root, model):
    """Interleaved event by event, each image is written, and both runs end with all of them."""
    list(run(asked(root, model, "alone")))
    first, second = (run(asked(root, model)) for _ in range(2))
    events = {0: [], 1: []}
    streams = {0: first, 1: second}
    while streams:
        for number, stream in list(streams.items()):
            event = next(stream, None)
            if event is None:
                del streams[number]
            else:
                events[number].append(event)
    assert files(root / "out") == files(root / "alone")
    for number in (0, 1):
        done = kinds(events[number], Finished)[0]
        assert done.written + done.kept == 6 and not done.failed
        assert not any(event.differs for event in kinds(events[number], Kept))


def test_a_run_with_other_settings_replaces_nothing(root, model):
    """Outputs that another run has made meanwhile are kept and said to differ, as are those that were there before."""
    events = run(asked(root, model, seed=1))
    seen = [next(events) for _ in range(2)]
    assert isinstance(seen[0], Planned)
    list(run(asked(root, model)))
    before = files(root / "out")
    rest = list(events)
    assert files(root / "out") == before and not kinds(rest, Failed)
    assert [event.differs for event in kinds(rest, Kept)] == ["another seed"] * 6
    list(run(asked(root, model, seed=1, overwrite=True)))
    assert files(root / "out") != before


def test_an_interrupted_folder_is_bit_identical_to_an_uninterrupted_one(root, model):
    list(run(asked(root, model, "whole", sampler="sde")))
    for stop in range(1, 6):
        events = run(asked(root, model, "parts", sampler="sde"))
        written = 0
        for event in events:
            written += isinstance(event, Written | Evaluated)
            if written == stop:
                break
        events.close()
    list(run(asked(root, model, "parts", sampler="sde")))
    assert files(root / "parts") == files(root / "whole")


def test_results_in_memory_are_bounded_by_their_size(root, model, monkeypatch):
    """With --keep-size a result is as large as its input: only as many as fit are encoded at a time."""
    monkeypatch.setattr(saving, "DECODED", Budget(2 * 40 * 40 * saving.BYTES_PER_PIXEL))
    lock, now, most = threading.Lock(), [0], [0]
    real = making.Maker.finish

    def slow(self, loaded, result):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return real(self, loaded, result)

    monkeypatch.setattr(making.Maker, "finish", slow)
    list(run(asked(root, model, keep_size=True, batch_size=6)))
    assert len(files(root / "out")) == 6 and most[0] == 2


def test_a_source_that_changes_meanwhile_is_reported(root, tmp_path):
    """A mask at the input's size needs the input again: another file of its name is not mixed in."""
    from tests.tasks.test_sample import PRIOR

    prior = str(write_tiny(tmp_path / "prior.safetensors", **PRIOR))
    picture(3, 40).convert("L").save(root / "mask.png")
    options = {"method": "sdedit", "mask": root / "mask.png", "keep_size": True}
    events = run(asked(root, prior, batch_size=6, **options))
    seen = [next(events), next(events)]
    for index in range(6):
        picture(index + 9, 40).save(root / "in" / f"{index}.png")
    failed = kinds([*seen, *events], Failed)
    assert len(failed) == 6 and all("changed during the run" in event.message for event in failed)


def test_what_a_mask_keeps_is_exact_at_the_size_of_the_input(root, tmp_path):
    from tests.tasks.test_sample import PRIOR

    prior = str(write_tiny(tmp_path / "prior.safetensors", **PRIOR))
    mask = picture(3, 40).convert("L").point(lambda level: 255 if level > 200 else 0)
    mask.save(root / "mask.png")
    list(run(asked(root, prior, method="sdedit", mask=root / "mask.png", keep_size=True)))
    for index in range(6):
        before, after = (
            np.asarray(open_picture(root / side / f"{index}.png").convert("RGB")) for side in ("in", "out")
        )
        kept = np.asarray(mask) == 0
        assert kept.any() and np.array_equal(before[kept], after[kept]) and not np.array_equal(before, after)


def test_temporary_files_of_killed_runs_are_removed_and_those_of_running_ones_are_not(root, model):
    (root / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = root / "out" / f".ddbm-{int(done.stdout):08x}00000000.tmp"
    alive = root / "out" / temporary_name()
    mine = root / "out" / ".ddbm-notes.tmp"
    for file in (dead, alive, mine):
        file.write_bytes(b"x")
    list(run(asked(root, model)))
    assert not dead.exists() and alive.exists() and mine.exists()


def test_a_killed_run_leaves_nothing_and_resumes(root, model):
    """SIGKILL while images are written: afterwards the folder is as after an undisturbed run, byte for byte."""
    list(run(asked(root, model, "whole", sampler="sde")))
    words = ["translate", root / "in", root / "out", "-m", model, "-d", "cpu", "--sampler", "sde", "-q"]
    script = (
        "import os, pathlib, signal, sys\n"
        "real, count = pathlib.Path.hardlink_to, [0]\n"
        "def link(self, target):\n"
        "    count[0] += 1\n"
        "    if count[0] == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(self, target)\n"
        "pathlib.Path.hardlink_to = link\n"
        f"sys.argv = ['ddbm', *{[str(word) for word in words]!r}]\n"
        "from ddbm_cli.cli.main import main\n"
        "main()\n"
    )
    assert forked.run(script, action=forked.script)[0] == -signal.SIGKILL
    assert any(name.endswith(".tmp") for name in files(root / "out"))
    list(run(asked(root, model, sampler="sde")))
    assert files(root / "out") == files(root / "whole")
