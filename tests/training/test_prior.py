"""Training a prior: images without sources."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Trained
from ddbm_cli.models import load_model
from ddbm_cli.objectives import LogNormalTimes
from ddbm_cli.paths import VE, VP, Cosine
from ddbm_cli.tasks.train import PRIOR, request, run
from ddbm_cli.training import Stepped, Validated
from tests.tiny import picture
from tests.training.test_training import TWO_LEVELS, same, tiny_request, weights


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for index in range(12):
        picture(index).save(tmp_path / "pictures" / ("more" if index % 2 else ".") / f"{index:03d}.png")
    return tmp_path


def prior_request(root, output="run", **changes):
    asked = {"task": "prior", "data": [root / "pictures"], "path": "ve", "times": PRIOR["times"], "augment": ["flip"]}
    return tiny_request(root, output, **asked | changes)


def test_a_run_ends_with_a_prior(root):
    events = list(run(prior_request(root)))
    assert isinstance(events[-1], Trained) and [e.step for e in events if isinstance(e, Validated)] == [6, 12]
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.is_prior and (model.card.task, model.card.network["in_channels"]) == ("-> image", 3)
    assert set(model.card.scores) == {"validation_images", "loss"} and model.card.training["images"] > 0
    assert model.plan().describe()["start"]["name"] == model.plan("dbim").describe()["start"]["name"] == "prior"
    assert len(list((root / "run" / "samples").glob("*.png"))) == 2


def test_defaults_of_priors(root):
    for task in ("prior", "-> cat photo"):
        asked = request({"data": ["x"], "output": "y", "task": task, "times": "uniform"})
        assert (asked.path, asked.times, asked.augment) == ("ve", "uniform", ("flip",))
    assert (asked.task, asked.translates) == ("prior", "-> cat photo")
    assert request({"data": ["x"], "output": "y", "task": "a -> b"}).path == "vp-bridge"


def test_sigma_data_is_measured_on_the_images(root):
    list(run(prior_request(root, steps=1, val_share=0, augment=())))
    card = load_model(root / "run" / "model.safetensors", device="cpu").card
    from ddbm_cli.imaging.preprocess import Preprocess

    pixels = torch.stack([Preprocess(size=16).forward(picture(index))[0] for index in range(12)])
    assert card.prediction["sigma_data"] == pytest.approx(float(pixels.square().mean().sqrt()), abs=1e-3)
    assert card.prediction["cov"] == 0


@pytest.mark.parametrize("path", ["vp", "cosine"])
def test_every_source_free_path_trains(root, path):
    events = list(run(prior_request(root, path=path, steps=3, validate_every=3)))
    assert all(event.loss == event.loss for event in events if isinstance(event, Stepped))


def test_a_path_that_needs_a_source_is_refused(root):
    with pytest.raises(UsageError, match="needs a source") as caught:
        list(run(prior_request(root, path="vp-bridge")))
    assert "ve, vp, cosine" in caught.value.hint


@pytest.mark.slow
def test_a_prior_learns(root):
    events = run(prior_request(root, network=TWO_LEVELS, steps=200, validate_every=200, learning_rate=5e-3))
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert sum(losses[-40:]) < 0.7 * sum(losses[:40])


@pytest.mark.slow
def test_a_killed_run_is_resumed_bit_identically(root):
    list(run(prior_request(root, "whole", steps=30, validate_every=10)))
    (root / "killed").mkdir()
    body = json.loads((root / "whole" / "config.json").read_text()) | {"output": str(root / "killed")}
    (root / "killed" / "config.json").write_text(json.dumps(body))
    script = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from ddbm_cli.tasks.train import request, run\n"
        "for event in run(request({}, resume=Path(sys.argv[1]))): print(event, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(root / "killed")], stdout=subprocess.PIPE, text=True)
    for _ in range(14):
        process.stdout.readline()
    time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    list(run(request({}, resume=root / "killed")))
    assert same(weights(root / "whole"), weights(root / "killed"))


@pytest.mark.parametrize("path", [VE(), VP(), Cosine()], ids=lambda path: path.name)
def test_log_normal_times_have_normal_log_noise_levels(path):
    """EDM's distribution, on every path: log(c / b) is N(mean, std^2)."""
    u = (torch.arange(2000) + 0.5) / 2000
    levels = -path.log_snr(LogNormalTimes(mean=-0.5, std=0.8).times(path, u)) / 2
    assert abs(float(levels.mean()) + 0.5) < 0.01 and abs(float(levels.std()) - 0.8) < 0.01


@pytest.mark.parametrize("path", [VE(), VP(), Cosine()], ids=lambda path: path.name)
def test_the_time_of_a_noise_level_is_found(path):
    times = torch.tensor([0.01, 0.3, 0.9], dtype=torch.float64) * path.t_max
    assert torch.allclose(path.time_at(path.log_snr(times)), times, rtol=1e-9)
