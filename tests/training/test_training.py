"""Training: batches are functions of their step, resumed runs are bit-identical, and the model learns."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Planned, Trained
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import load_model
from ddbm_cli.models.seen import split_of
from ddbm_cli.objectives import TIME_DISTRIBUTIONS
from ddbm_cli.paths import VEBridge, VPBridge
from ddbm_cli.samplers import Implicit, Timesteps
from ddbm_cli.tasks.train import TrainRequest, request, run
from ddbm_cli.training import Batches, Recipe, Stepped, Validated
from tests.tiny import SMALLEST, write_pairs

ONE_LEVEL = "adm:channels=16,multipliers=1,blocks=1,head_channels=16,patch=2"
"""Enough to learn in some seconds."""

TWO_LEVELS = "adm:channels=16,multipliers=1-2,blocks=1,attention=2,head_channels=16,patch=2"


def tiny_request(root: Path, output: str | None = "run", **changes) -> TrainRequest:
    recipe = {"steps": 12, "batch_size": 4, "save_every": 5, "validate_every": 6, "warmup": 2}
    body = {
        "data": [root / "pairs"],
        "output": output and root / output,
        "network": SMALLEST,
        "size": 16,
        "val_share": 0.3,
    }
    body |= {key: value for key, value in changes.items() if key not in Recipe.__dataclass_fields__}
    recipe |= {key: value for key, value in changes.items() if key in Recipe.__dataclass_fields__}
    return request({**body, "device": "cpu", "recipe": recipe})


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of a run of four steps without any option."""
    root = tmp_path_factory.mktemp("plain")
    write_pairs(root / "pairs", 12)
    list(run(tiny_request(root, steps=4)))
    return weights(root / "run")


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(run_folder / "state.safetensors")


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_ends_with_a_model_that_translates(root):
    events = list(run(tiny_request(root, name="mine", translates="grey -> colour", licence="MIT", network=TWO_LEVELS)))
    assert isinstance(events[0], Planned) and isinstance(events[-1], Trained)
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 13))
    assert [event.step for event in events if isinstance(event, Validated)] == [6, 12]
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert (model.name, model.card.licence, model.card.training["steps"]) == ("mine", "MIT", 12)
    splits = [split_of(model.card.seen, file) for file in sorted((root / "pairs" / "A").iterdir())]
    assert {"training", "held out"} == set(splits) and splits.count("training") == model.card.training["pairs"]
    assert model.card.scores["mse"] > 0 and model.plan().nfe == 10
    assert len(list((root / "run" / "samples").glob("*.png"))) == 2
    assert len((root / "run" / "results.csv").read_text().splitlines()) == 3
    assert load_model(root / "run" / "best.safetensors", device="cpu").name == "mine"


def test_the_card_has_the_default_sampling(root):
    sampling = {"sampler": "implicit:eta=1", "grid": "listed:at=0.9-0.1", "steps": 2}
    list(run(tiny_request(root, sampling=sampling)))
    plan = load_model(root / "run" / "model.safetensors", device="cpu").plan()
    assert (plan.sampler, plan.grid, plan.steps) == (Implicit(eta=1.0), Timesteps(at=(0.9, 0.1)), 2)
    with pytest.raises(UsageError, match="unknown grid"):
        list(run(tiny_request(root, "other", sampling={"grid": "nonsense"})))


def test_stopping_and_resuming_changes_nothing(root):
    """Stopped between any two steps, a resumed run ends in the very bits of an undisturbed one."""
    list(run(tiny_request(root, "whole")))
    for stop_after in (3, 5, 8):
        folder = f"parts{stop_after}"
        count = 0

        def stop(limit=stop_after):
            return count >= limit  # noqa: B023 - asked at once

        for event in run(tiny_request(root, folder), stop=stop):
            count += isinstance(event, Stepped)
        assert count == stop_after
        list(run(request({}, resume=root / folder)))
        assert same(weights(root / "whole"), weights(root / folder))


@pytest.mark.slow
def test_a_kill_loses_nothing_but_time(root):
    """SIGKILL at any moment, --resume, again and again: the same bits, by the real command."""
    list(run(tiny_request(root, "whole", steps=40, validate_every=20)))
    config = root / "whole" / "config.json"
    (root / "killed").mkdir()
    body = json.loads(config.read_text()) | {"output": str(root / "killed")}
    (root / "killed" / "config.json").write_text(json.dumps(body))
    script = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from ddbm_cli.tasks.train import request, run\n"
        "for event in run(request({}, resume=Path(sys.argv[1]))): print(event, flush=True)\n"
    )
    for lines in (9, 17, None):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(root / "killed")], stdout=subprocess.PIPE, text=True
        )
        if lines is None:
            process.communicate()
            assert process.returncode == 0
        else:
            for _ in range(lines):
                process.stdout.readline()
            time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
    assert same(weights(root / "whole"), weights(root / "killed"))


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 40, "path": "rectified", "prediction": "velocity", "learning_rate": 1e-2, "network": ONE_LEVEL},
        pytest.param({"steps": 200, "learning_rate": 5e-3, "network": TWO_LEVELS}, marks=pytest.mark.slow),
    ],
    ids=["rectified", "default"],
)
def test_a_run_learns(root, settings):
    longer = tiny_request(root, validate_every=200, augment=(), **settings)
    losses = [event.loss for event in run(longer) if isinstance(event, Stepped)]
    assert sum(losses[-20:]) < 0.85 * sum(losses[:20])


def test_a_dry_run_writes_nothing(root):
    events = list(run(tiny_request(root), dry_run=True))
    assert len(events) == 1 and not (root / "run").exists()


def test_a_folder_with_another_run_is_not_overwritten(root):
    list(run(tiny_request(root)))
    with pytest.raises(UsageError, match="another path"):
        list(run(tiny_request(root, path="brownian")))


def test_a_run_of_an_earlier_release_resumes(root):
    """Its config knows nothing of settings that came later."""
    list(run(tiny_request(root, steps=3)))
    file = root / "run" / "config.json"
    body = json.loads(file.read_text())
    del body["objective"], body["recipe"]["beta1"]
    file.write_text(json.dumps(body))
    events = list(run(request({}, resume=root / "run")))
    assert events[0].kept == 3


def test_a_finished_run_is_resumed_with_more_steps(root):
    list(run(tiny_request(root)))
    events = list(run(request({"recipe": {"steps": 15}}, resume=root / "run")))
    assert [event.step for event in events if isinstance(event, Stepped)] == [13, 14, 15]


def test_a_time_budget_stops_the_run(root):
    events = list(run(tiny_request(root, hours=1e-9)))
    assert isinstance(events[-1], Trained) and events[-1].step < 12


def test_a_damaged_state_is_explained(root):
    list(run(tiny_request(root)))
    (root / "run" / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(DdbmError, match="cannot resume"):
        list(run(request({}, resume=root / "run")))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"batch_size": 3},
        {"weight_decay": 0.5},
        {"ema": 0.5, "warmup": 0},
        {"warmup": 5},
        {"lr_decay_fraction": 1.0},
        {"clip_norm": 0.01},
        {"seed": 1},
        {"precision": "bf16"},
        {"times": "uniform"},
        {"path": "brownian"},
        {"prediction": "x0"},
        {"augment": ()},
        {"augment": ("flip",)},
        {"val_share": 0.6},
        {"size": 8},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(root, plain, change):
    list(run(tiny_request(root, steps=4, **change)))
    assert not same(plain, weights(root / "run"))


def test_without_a_change_the_weights_are_the_same(root, plain):
    """In another folder too: so what differs above is the option's."""
    list(run(tiny_request(root, steps=4)))
    assert same(plain, weights(root / "run"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": {"steps": 0}}, "--steps must be at least 1"),
        ({"recipe": {"learning_rate": -1}}, "--learning-rate must be above 0"),
        ({"size": 2}, "--size must be a size in pixels"),
        ({"val_share": 1.5}, "--val-share must be below 1"),
        ({"data": None}, "nothing to train on"),
    ],
    ids=str,
)
def test_bad_values_are_explained(root, given, message):
    with pytest.raises(UsageError, match=message):
        request({"data": [root / "pairs"], "output": root / "run"} | given)


def test_settings_of_a_network_that_do_not_fit_have_their_own_hint(root):
    for changes, message, hint in (
        ({"network": "adm:channels=20,head_channels=7"}, "cannot be shared", "choose head_channels"),
        ({"network": "unet:channels=4096,depth=1", "size": 512}, "too large for this network", "pass other settings"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            list(run(tiny_request(root, **changes)))
        assert hint in caught.value.hint and "card" not in str(caught.value)


def test_settings_come_from_options_then_the_file_then_the_run(root, tmp_path):
    (tmp_path / "c.toml").write_text('size = 32\nname = "file"\n[recipe]\nsteps = 7\nema = 0.9\n')
    got = request({"data": ["x"], "output": "y", "name": "line", "recipe": {"steps": 8}}, config=tmp_path / "c.toml")
    assert (got.size, got.name, got.recipe.steps, got.recipe.ema) == (32, "line", 8, 0.9)
    with pytest.raises(UsageError, match="not readable"):
        request({}, config=tmp_path / "missing.toml")
    with pytest.raises(UsageError, match="not readable"):
        request({}, resume=tmp_path)


def test_batches_are_functions_of_their_step(root):
    pairs = find_pairs([root / "pairs"], val_share=0).train
    first, second = (Batches(pairs, Preprocess(size=16), size=5, seed=0, augment=("flip", "shift")) for _ in range(2))
    stream = second.from_step(2)
    for step in (2, 3, 4):
        from_stream, alone = next(stream), first[step]
        for field in ("target", "source", "u", "eps"):
            assert torch.equal(getattr(from_stream, field), getattr(alone, field))
    stream.close()


def test_an_epoch_has_every_pair_once(root):
    pairs = find_pairs([root / "pairs"], val_share=0).train
    batches = Batches(pairs, Preprocess(size=16), size=4, seed=0)
    seen = torch.cat([batches[step].target for step in range(3)]).flatten(1)
    assert len({tuple(row.tolist()) for row in seen}) == len(pairs) == 12


def test_augmentation_is_the_same_for_both_images(root):
    for file in (root / "pairs" / "A").iterdir():
        file.write_bytes((root / "pairs" / "B" / file.name).read_bytes())
    pairs = find_pairs([root / "pairs"], val_share=0).train
    batch = Batches(pairs, Preprocess(size=16), size=12, seed=0, augment=("flip", "shift"))[0]
    assert torch.equal(batch.target, batch.source)


@pytest.mark.parametrize("name", TIME_DISTRIBUTIONS)
@pytest.mark.parametrize("path", [VPBridge(), VEBridge()], ids=lambda path: path.name)
def test_training_times_lie_on_the_path(name, path):
    times = TIME_DISTRIBUTIONS[name]().times(path, torch.linspace(0, 1, 101))
    assert times.min() >= path.t_min and times.max() < path.t_max
    assert torch.isfinite(path.log_snr(times)).all()


def test_the_learning_rate_rises_holds_and_falls():
    recipe = Recipe(steps=100, warmup=10, lr_decay_fraction=0.2, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert rates[0] < 0.1 and rates[50] == 1.0 and rates[99] < 0.06
    assert rates[:11] == sorted(rates[:11]) and rates[80:] == sorted(rates[80:], reverse=True)


def test_a_blind_bridge_gets_the_state_alone(root):
    list(run(tiny_request(root, sees_source=False, path="rectified", prediction="velocity", steps=2)))
    model = load_model(root / "run" / "model.safetensors", device="cpu")
    assert model.card.network["in_channels"] == 3 and not model.is_prior and "mse" in model.card.scores
    x, t = torch.randn(1, 3, 16, 16), torch.tensor(0.5, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(model.denoiser(x, t, torch.zeros_like(x)), model.denoiser(x, t, torch.ones_like(x)))
    with pytest.raises(UsageError, match="nothing of the source"):
        list(run(tiny_request(root, "other", sees_source=False, path="cosine")))
