"""Watching a folder: what arrives is translated once it is complete, and nothing is lost, repeated or looped."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from ddbm_cli.models.load import load_file
from ddbm_cli.tasks import watch as module
from ddbm_cli.tasks.events import Arrived, Failed, Finished, Kept, Noticed, Planned, Written
from ddbm_cli.tasks.translate import request, run
from tests.tasks.test_translate import kinds
from tests.tiny import picture, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_file(write_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors"), device="cpu")


@pytest.fixture
def root(tmp_path, monkeypatch):
    pytest.importorskip("watchdog")
    for name, seconds in (("LOOK", 0.02), ("SETTLED", 0.1), ("PATIENCE", 0.6), ("IDLE", 0.5)):
        monkeypatch.setattr(module, name, seconds)
    (tmp_path / "in").mkdir()
    return tmp_path


class Session:
    """A watcher in a thread."""

    def __init__(self, root, model, **options):
        given = {"source": str(root / "in"), "output": root / "out"}
        self.events, self._stop = [], threading.Event()
        stream = module.watch(request(**given | options), stop=self._stop.is_set, model=model)
        self._thread = threading.Thread(target=self._run, args=(stream,))

    def _run(self, stream):
        for event in stream:
            self.events.append(event)

    def __enter__(self):
        self._thread.start()
        self.until(lambda: kinds(self.events, Planned))
        return self

    def __exit__(self, *ignored):
        self._stop.set()
        self._thread.join(120)
        assert kinds(self.events, Finished)

    def until(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end and self._thread.is_alive(), self.events
            time.sleep(0.01)

    def until_written(self, count):
        self.until(lambda: len(kinds(self.events, Written)) >= count)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_arrives_has_the_bytes_that_a_run_over_the_folder_gives(root, model):
    picture(0, 24).save(root / "in" / "0.png")
    os.utime(root / "in" / "0.png", (1e9, 1e9))
    with Session(root, model, sampler="sde", recursive=True, manifest=True) as session:
        session.until_written(1)
        picture(1, 24).save(root / "in" / "1.png")
        (root / "in" / "sub").mkdir()
        picture(2, 24).save(root / "sub.png")
        (root / "sub.png").rename(root / "in" / "sub" / "2.png")
        session.until_written(3)
        (root / "in" / "note.txt").write_text("no image")
        time.sleep(0.3)
    assert sum(event.images for event in kinds(session.events, Arrived)) == 3
    assert kinds(session.events, Finished)[0].written == 3 and not kinds(session.events, Failed)
    given = {"source": str(root / "in"), "sampler": "sde", "recursive": True}
    list(run(request(**given, output=root / "plain"), model=model))
    assert names(root / "out") == ["0.png", "1.png", "manifest.jsonl", "sub/2.png"]
    for name in names(root / "plain"):
        assert (root / "out" / name).read_bytes() == (root / "plain" / name).read_bytes()


def test_a_file_that_is_still_being_written_is_waited_for(root, model, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 60)
    picture(1, 200).save(root / "whole.png")
    body = (root / "whole.png").read_bytes()
    with Session(root, model) as session:
        with (root / "in" / "slow.png").open("wb", buffering=0) as file:
            for place in range(0, len(body), max(1, len(body) // 4)):
                file.write(body[place : place + max(1, len(body) // 4)])
                time.sleep(0.25)
        session.until_written(1)
    assert not kinds(session.events, Failed)


def test_a_damaged_file_is_reported_and_translated_when_it_is_replaced(root, model):
    with Session(root, model) as session:
        (root / "in" / "a.png").write_bytes(b"no image")
        session.until(lambda: kinds(session.events, Failed))
        picture(1, 24).save(root / "in" / "a.png")
        session.until_written(1)
        picture(2, 24).save(root / "in" / "a.png")  # its output exists
        session.until(lambda: kinds(session.events, Kept))
    assert kinds(session.events, Kept)[0].differs == "another source image"
    with Session(root, model, overwrite=True) as session:
        session.until_written(1)
        picture(3, 24).save(root / "in" / "a.png")
        session.until_written(2)


def test_failures_are_noted_at_once_and_their_largest_number_ends_it(root, model):
    (root / "in" / "a.png").write_bytes(b"no image")
    os.utime(root / "in" / "a.png", (1e9, 1e9))
    with Session(root, model, max_failures=2) as session:
        session.until(lambda: any("a.png: not an image" in event.message for event in kinds(session.events, Noticed)))
        (root / "in" / "b.png").write_bytes(b"no image")
        end = time.monotonic() + 120
        while not kinds(session.events, Finished):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert kinds(session.events, Finished)[0].failed == 2


def test_own_outputs_are_no_inputs(root, model):
    with Session(root, model, output=root / "in" / "made", recursive=True, gif=True) as session:
        picture(0, 24).save(root / "in" / "0.png")
        session.until_written(1)
        time.sleep(0.5)
    assert kinds(session.events, Finished)[0].written == 1
    assert names(root / "in") == ["0.png", "made/0-steps.gif", "made/0.png"]


def test_a_folder_that_is_deleted_while_it_is_listed_stops_nothing(root, model, monkeypatch):
    real, deleted = module.plan_jobs_of, []

    def deletes(*given, **options):
        if deleted == ["now"]:
            shutil.rmtree(root / "in")
            deleted.append("done")
        return real(*given, **options)

    monkeypatch.setattr(module, "plan_jobs_of", deletes)
    with Session(root, model) as session:
        deleted.append("now")
        session.until(lambda: any("no such folder" in event.message for event in kinds(session.events, Noticed)))
        (root / "in").mkdir()
        picture(0, 24).save(root / "in" / "0.png")
        session.until_written(1)
    assert deleted == ["now", "done"] and not kinds(session.events, Failed)


def test_deleted_and_renamed_files_and_folders_stop_nothing(root, model, monkeypatch):
    real = module.Work.run

    def deletes(self, jobs):
        if (root / "in" / "0.png").exists():
            (root / "in" / "0.png").unlink()
        return real(self, jobs)

    monkeypatch.setattr(module.Work, "run", deletes)
    with Session(root, model) as session:
        picture(0, 24).save(root / "in" / "0.png")
        session.until(lambda: any("deleted" in event.message for event in kinds(session.events, Noticed)))
        picture(1, 24).save(root / "in" / "1.png")
        session.until_written(1)
        (root / "in" / "1.png").rename(root / "in" / "renamed.png")
        session.until_written(2)
        shutil.rmtree(root / "in")
        session.until(lambda: any("no such folder" in event.message for event in kinds(session.events, Noticed)))
        (root / "in").mkdir()
        picture(2, 24).save(root / "in" / "2.png")
        session.until_written(3)
    assert not kinds(session.events, Failed) and kinds(session.events, Finished)[0].failed == 0


def test_an_input_keeps_its_output_when_another_of_its_name_arrives(root, model):
    with Session(root, model, format="png") as session:
        picture(0, 24).save(root / "in" / "a.jpg")
        session.until_written(1)
        picture(1, 24).save(root / "in" / "a.png")
        session.until_written(2)
    assert names(root / "out") == ["a.png", "a.png.png"]


def test_two_watchers_share_a_folder(root, model):
    with Session(root, model, sampler="sde") as one, Session(root, model, sampler="sde") as two:
        for index in range(5):
            picture(index, 24).save(root / "in" / f"{index}.png")
        both = lambda: [kinds(each.events, Written) + kinds(each.events, Kept) for each in (one, two)]  # noqa: E731
        one.until(lambda: all(len({event.output for event in done}) == 5 for done in both()))
    assert not any(kinds(each.events, Failed) for each in (one, two))
    assert not any(event.differs for event in kinds(one.events, Kept) + kinds(two.events, Kept))
    list(run(request(source=str(root / "in"), sampler="sde", output=root / "plain"), model=model))
    assert names(root / "out") == names(root / "plain")
    for name in names(root / "plain"):
        assert (root / "out" / name).read_bytes() == (root / "plain" / name).read_bytes()


def test_processes_divide_what_arrives(root, model):
    with Session(root, model, shard=(0, 2)) as one, Session(root, model, shard=(1, 2)) as two:
        for index in range(6):
            picture(index, 24).save(root / "in" / f"{index}.png")
        one.until(lambda: len(names(root / "out")) == 6 if (root / "out").exists() else False)
    done = [kinds(each.events, Finished)[0].written for each in (one, two)]
    assert sum(done) == 6 and all(done)


def test_it_needs_a_folder(root, ddbm):
    picture(0).save(root / "a.png")
    for words, message in [
        ([root / "a.png", root / "b.png", "--watch"], "--watch needs a folder"),
        ([root / "in", root / "out", "--watch", "--dry-run"], "mutually exclusive"),
        ([root / "in", root / "out", "--watch", "--limit", "3"], "mutually exclusive"),
        ([root / "none", root / "out", "--watch"], "--watch needs a folder"),
    ]:
        code, _, err = ddbm("translate", *words)
        assert code == 2 and message in err and "Hint" in err, err


@pytest.mark.slow
def test_control_c_ends_it_with_a_summary(root, tmp_path):
    model = write_tiny(tmp_path / "tiny.safetensors")
    words = ["-m", "ddbm_cli", "translate", root / "in", root / "out", "-m", model, "-d", "cpu", "--watch"]
    child = subprocess.Popen([sys.executable, *map(str, words)], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    picture(0, 24).save(root / "in" / "0.png")
    assert child.stdout is not None
    assert child.stdout.readline().strip() == str(root / "out" / "0.png").encode()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0 and b"Done     1 written" in err, err
