"""Watching a run: trackers, metrics.csv and report.html, across interruptions."""

import csv
import re
from itertools import islice
from pathlib import Path

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Noticed, Saved
from ddbm_cli.networks.perceptual import PerceptualDistance
from ddbm_cli.tasks.train import perceptual, request, run
from ddbm_cli.tasks.train.report import chart, charts
from ddbm_cli.training import trackers
from tests.tiny import SMALLEST, write_pairs
from tests.training.test_training import same, weights


def asked(root, output="run", *, data="pairs", recipe=None, **settings):
    recipe = {"steps": 6, "batch_size": 2, "warmup": 0, "save_every": 2, "validate_every": 3} | (recipe or {})
    body = {"data": [root / data], "output": root / output, "val_share": 0.4, "device": "cpu", "size": 16}
    return request({**body, "recipe": recipe, "network": SMALLEST, **settings})


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 8)
    return tmp_path


def rows(file):
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def recorded(folder):
    """Return what TensorBoard reads of a folder: the steps of each tag, of all sessions together."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder), purge_orphaned_data=True)
    read.Reload()
    tags = read.Tags()
    found = {tag: [each.step for each in read.Scalars(tag)] for tag in tags["scalars"]}
    return found | {tag: [each.step for each in read.Images(tag)] for tag in tags["images"]}


def killed(events, after):
    """Take events up to the save at a step, and no further, as a killed process does."""
    for event in events:
        if isinstance(event, Saved) and event.step == after:
            break
    next(events)  # a step that is done again later
    return events


def test_tensorboard_has_each_step_once_across_an_interruption(root):
    first = killed(run(asked(root)), after=4)
    list(islice(first, 0))
    first.close()
    list(run(request({"device": "cpu"}, resume=root / "run")))
    found = recorded(root / "run" / "logs")
    assert found["train/loss"] == found["train/learning_rate"] == [1, 2, 3, 4, 5, 6]
    assert found["validation/loss"] == found["samples"] == [3, 6]
    assert len(list((root / "run" / "logs").iterdir())) == 2  # a file for each session


def test_metrics_are_those_of_an_uninterrupted_run(root):
    list(run(asked(root, "whole", tracker=())))
    first = killed(run(asked(root, "cut", tracker=())), after=4)
    first.close()
    list(run(request({"device": "cpu"}, resume=root / "cut")))
    found = [[{**row, "seconds": ""} for row in rows(root / name / "metrics.csv")] for name in ("whole", "cut")]
    assert found[0] == found[1] and [row["step"] for row in found[0]] == list("123456")
    assert all(float(row["gradient_norm"]) > 0 and float(row["rate"]) > 0 for row in found[0])


def test_a_run_that_is_done_is_left_as_it_is(root):
    list(run(asked(root, tracker=())))
    names = ("report.html", "metrics.csv", "results.csv")
    before = [(root / "run" / name).read_bytes() for name in names]
    list(run(asked(root, tracker=())))
    assert before == [(root / "run" / name).read_bytes() for name in names]


def test_trackers_change_no_bit_of_a_run(root):
    list(run(asked(root, "tracked")))
    list(run(asked(root, "untracked", tracker=())))
    assert same(weights(root / "tracked"), weights(root / "untracked"))
    assert (root / "tracked" / "logs").exists() and not (root / "untracked" / "logs").exists()


def test_a_tracker_that_is_not_installed_is_refused_and_auto_does_without(root, monkeypatch):
    monkeypatch.setattr(trackers, "_is_installed", lambda name: False)
    assert trackers.chosen(["auto"]) == []
    with pytest.raises(UsageError) as error:
        list(run(asked(root, tracker=("wandb",))))
    assert "wandb: it is not installed" in error.value.message and "pip install wandb" in error.value.hint
    with pytest.raises(UsageError, match="unknown value"):
        asked(root, tracker=("tensorbord",))


def test_a_tracker_that_fails_does_not_end_the_run(root, monkeypatch):
    tracking = pytest.importorskip("accelerate.tracking")

    def fail(self, *given, **named):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(tracking.TensorBoardTracker, "log", fail)
    events = list(run(asked(root)))
    notices = [event.message for event in events if isinstance(event, Noticed)]
    assert notices == ["--tracker tensorboard: no route; it is not used any longer in this session"]
    assert events[-1].step == 6


def test_validations_have_lpips_where_its_network_is_cached(root, monkeypatch):
    """AlexNet stands for itself here: its file is not part of the tests."""
    settings = {"size": 32, "tracker": (), "recipe": {"steps": 3}}
    list(run(asked(root, "without", **settings)))
    assert "lpips" not in rows(root / "without" / "results.csv")[0]

    class Known:
        device = torch.device("cpu")

        def __call__(self, batch):
            assert batch.outputs.dtype == torch.uint8 and batch.outputs.shape == batch.wanted.shape
            return torch.full((len(batch.outputs),), 0.25)

    (root / "alexnet.pth").touch()
    monkeypatch.setattr(perceptual.ALEXNET.__class__, "path", root / "alexnet.pth")
    monkeypatch.setattr(perceptual, "LPIPS", lambda device: Known())
    list(run(asked(root, "with", **settings)))
    assert rows(root / "with" / "results.csv")[0]["lpips"] == "0.25"
    assert "Validation lpips" in (root / "with" / "report.html").read_text()
    assert same(weights(root / "with"), weights(root / "without"))


def test_validations_have_st_lpips_where_its_package_is_installed(root, monkeypatch):
    """A network of random weights stands for AlexNet; without the package there is no such column."""
    settings = {"size": 32, "tracker": (), "recipe": {"steps": 3}}
    monkeypatch.setattr("ddbm_cli.networks.perceptual.PACKAGE", "no-such-package")
    monkeypatch.setattr(perceptual.ALEXNET.__class__, "path", root / "alexnet.pth")
    list(run(asked(root, "without", **settings)))
    assert not {"lpips", "st_lpips"} & rows(root / "without" / "results.csv")[0].keys()
    torch.manual_seed(1)
    network = PerceptualDistance()
    monkeypatch.setattr(perceptual, "load_perceptual_distance", lambda device: network.to(device))
    list(run(asked(root, "with", **settings)))
    assert float(rows(root / "with" / "results.csv")[0]["st_lpips"]) > 0
    assert "Validation st lpips" in (root / "with" / "report.html").read_text()
    assert same(weights(root / "with"), weights(root / "without"))
    assert perceptual.distances_of(31, torch.device("cpu")) == {}


def test_st_lpips_is_the_mean_of_its_network(monkeypatch):
    torch.manual_seed(1)
    network = PerceptualDistance()
    monkeypatch.setattr(perceptual, "load_perceptual_distance", lambda device: network)
    monkeypatch.setattr(perceptual.ALEXNET.__class__, "path", Path("none"))
    measure = perceptual.distances_of(32, torch.device("cpu"))["st_lpips"]
    images, others = (torch.rand(18, 3, 32, 32) * 2 - 1 for _ in range(2))
    assert measure(images, images) == 0
    assert measure(images, others) == pytest.approx(float(network(images, others).mean()), rel=1e-5)


def test_the_report_is_one_page_that_needs_nothing_else(root):
    hostile = "<img src=x onerror=alert(1)>"
    (root / "pairs").rename(root / f"pairs{hostile[:4]}")
    list(run(asked(root, data=f"pairs{hostile[:4]}", name=hostile, data_note=hostile)))
    page = (root / "run" / "report.html").read_text()
    assert "<script" not in page and hostile not in page and "&lt;img" in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall('(?:src|href)="([^"]*)', page))
    assert not re.search(r"https?://|url\(", page)
    assert re.findall("<th scope=.col.>([^<]*)", page) == ["source", "step 3", "step 6", "target"]
    assert page.count("<img") == 3 * 4  # three held-out pairs
    for words in ("ddbm train --resume", "ddbm translate INPUT OUTPUT -m", "--config settings.toml", "steps = 6"):
        assert words in page


def test_the_report_is_there_before_the_first_validation(root):
    events = run(asked(root, tracker=(), recipe={"steps": 3, "save_every": 1}))
    for event in events:
        if isinstance(event, Saved):
            break
    page = (root / "run" / "report.html").read_text()
    events.close()
    assert "There is no validation yet." in page and "<polyline" not in page.split("Curves")[0]


def test_charts_share_the_losses_and_leave_out_what_is_no_number():
    metrics = [{"step": str(step), "loss": str(1 / step), "gradient_norm": "1", "rate": "0.1"} for step in range(1, 40)]
    results = [{"step": "20", "loss": "0.5", "loss 0.99": "nan", "mse": "0.25", "blank_mse": "1"}, {"step": "x"}]
    made = {each["title"]: each for each in charts(metrics, results)}
    assert list(made) == ["Loss", "Validation mse", "Gradient norm", "Learning rate"]
    assert [line.name for line in made["Loss"]["lines"]] == ["training", "validation loss"]
    assert made["Loss"]["is_log"] and not made["Validation mse"]["is_log"]
    heights = [y for _, y in made["Loss"]["lines"][0].points]
    assert heights == sorted(heights)  # lower losses are lower
    assert chart("none", {"a": []}) == {} and chart("flat", {"a": [(1, 0.0)]})["lines"]
