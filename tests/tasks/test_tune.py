"""`ddbm tune`: what it finds is better on other images, is stored, is used, and survives interruptions."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ddbm_cli.foundation.errors import ModelError, UsageError
from ddbm_cli.foundation.events import Tuned
from ddbm_cli.foundation.settings import describe
from ddbm_cli.models import load_model
from ddbm_cli.models.card import describe_card, parse_card
from ddbm_cli.models.seen import remember
from ddbm_cli.options.check import from_options
from ddbm_cli.options.tune import TuneRequest
from ddbm_cli.paths import PATHS, RectifiedFlow, VPBridge
from ddbm_cli.samplers import Implicit, Multistep, default_start, tuning
from ddbm_cli.samplers.tuning import search, start_of, trials_at_most
from ddbm_cli.tasks.events import Noticed
from ddbm_cli.tasks.tune import run
from tests.tiny import tiny_card, write_pairs, write_tiny

EVERY = tuning.NOISY
QUICK = {"nfe": (4,), "images": 2, "teacher": 8, "sweeps": 1, "places": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    write_pairs(folder / "pairs", 12)
    write_tiny(folder / "m.safetensors")
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_samplers():
    """Two samplers begin each search, so that it is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "NOISY", (Implicit(), Multistep(variable="lambda")))
        yield


def tune(root, name, **changes):
    given = {"model": str(root / "m.safetensors"), "data": (root / "pairs",), "output": root / name}
    return run(TuneRequest(**(given | QUICK | changes)))


@pytest.fixture(scope="module")
def done(root):
    """The events of a whole tuning."""
    return list(tune(root, "whole.safetensors"))


def test_what_it_finds_is_closer_to_many_evaluations_on_other_images(done):
    (tuned,) = (event for event in done if isinstance(event, Tuned))
    assert tuned.after < tuned.before and tuned.nfe == 4 and tuned.trials > 5
    assert tuned.images == 2 and tuned.error_after is not None


def test_the_card_holds_it_and_its_budget_uses_it(root, done):
    (tuned,) = (event for event in done if isinstance(event, Tuned))
    model = load_model(root / "whole.safetensors", device="cpu")
    entry = model.card.tuned["4"]
    plan = model.plan(nfe=4)
    assert plan.nfe <= 4 and describe(plan.sampler) == entry["sampler"] and describe(plan.grid) == entry["grid"]
    assert entry["distance"] == pytest.approx(tuned.after, abs=1e-5) and plan.budget == 4
    usual = load_model(root / "m.safetensors", device="cpu")
    for asked in ({"nfe": 5}, {"nfe": 4, "sampler": "dbim"}, {"nfe": 4, "grid": "uniform"}, {"steps": 3}, {}):
        assert model.plan(**asked).describe() == usual.plan(**asked).describe(), asked


def test_an_interrupted_search_ends_with_the_same_bytes(root, done):
    for events in (5, 9):
        started = tune(root, "again.safetensors")
        for _ in range(events):
            next(started)
        started.close()
    whole, resumed = (root / "whole.safetensors").read_bytes(), list(tune(root, "again.safetensors"))
    assert (root / "again.safetensors").read_bytes() == whole
    (planned,) = (event for event in resumed if hasattr(event, "facts"))
    assert "trials are measured already" in planned.facts["Resumed"]
    assert not (root / "again.safetensors.tuning").exists()


@pytest.mark.slow
def test_a_killed_command_ends_with_the_same_bytes(root):
    words = [
        sys.executable,
        "-m",
        "ddbm_cli",
        "tune",
        "m.safetensors",
        "pairs",
        "-o",
        "killed.safetensors",
        "--nfe",
        "4",
    ]
    words += ["--images", "2", "--teacher", "8", "--sweeps", "1", "--places", "1"]
    scores = root / "killed.safetensors.tuning" / "scores.json"
    for least in (5, 25):
        process = subprocess.Popen(words, cwd=root, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (scores.exists() and scores.read_text().count(":") > least):
            time.sleep(0.02)
        assert process.poll() is None, "it was faster than the test"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(words, cwd=root, check=True, stderr=subprocess.DEVNULL)
    killed = (root / "killed.safetensors").read_bytes()
    (root / "killed.safetensors").unlink()
    subprocess.run(words, cwd=root, check=True, stderr=subprocess.DEVNULL)
    assert (root / "killed.safetensors").read_bytes() == killed


def test_scores_of_another_search_are_not_used(root, done):
    folder = root / "other.safetensors.tuning"
    folder.mkdir()
    for body in ("[", '{"of": "x", "scores": {"": 0}}', '{"of": 1}', "\x00"):
        (folder / "scores.json").write_text(body)
        next(tune(root, "other.safetensors"))
        planned = next(event for event in tune(root, "other.safetensors") if hasattr(event, "facts"))
        assert "Resumed" not in planned.facts


def test_damaged_scores_are_measured_again(root, done):
    whole = (root / "whole.safetensors").read_bytes()
    searching = tune(root, "damaged.safetensors")
    scores = root / "damaged.safetensors.tuning" / "scores.json"
    next(event for event in searching if scores.exists() and len(json.loads(scores.read_text())["scores"]) >= 4)
    searching.close()
    body = json.loads(scores.read_text())
    wrong = dict(zip(body["scores"], itertools.cycle(("x", None, [1], {})), strict=False))
    scores.write_text(json.dumps(body | {"scores": wrong}))
    list(tune(root, "damaged.safetensors"))
    assert (root / "damaged.safetensors").read_bytes() == whole


def test_files_that_are_not_its_own_are_not_removed(root):
    folder = root / "kept.safetensors.tuning"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    list(tune(root, "kept.safetensors"))
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]


def trials_of(root, **changes):
    """Every trial, with its distance, of a search with these options."""
    events = list(tune(root, f"{'-'.join(changes)}.safetensors", **changes))
    return [event.text for event in events if hasattr(event, "text")], events


@pytest.mark.parametrize(
    "change",
    [{"nfe": (6,)}, {"images": 3}, {"teacher": 12}, {"sweeps": 0}, {"places": 2}, {"seed": 1}, {"val_share": 0.5}],
)
def test_every_option_changes_the_search(root, done, change):
    before = [event.text for event in done if hasattr(event, "text")]
    assert trials_of(root, **change)[0] != before


def test_batches_change_nothing(root, done):
    before = [event.text for event in done if hasattr(event, "text")]
    assert trials_of(root, batch_size=1)[0] == before


def test_held_out_images_of_the_model_are_not_used(root, tmp_path):
    files = sorted((root / "pairs" / "A").iterdir())
    seen = remember(files[:2], files[2:])
    model = write_tiny(tmp_path / "seen.safetensors", seen=seen)
    with pytest.raises(UsageError, match="not held out are too few"):
        list(tune(root, "seen.safetensors", model=str(model)))


def test_a_markov_process_is_not_tuned(root, tmp_path):
    from tests.tiny import NETWORK

    network = NETWORK | {"in_channels": 3}
    chain = {"sampler": {"name": "euler-maruyama"}, "grid": {"name": "karras"}, "start": {"name": "pinned"}, "steps": 3}
    options = {"markov": True, "concat_source": False, "network": network, "defaults": chain}
    model = write_tiny(tmp_path / "markov.safetensors", **options)
    with pytest.raises(UsageError, match="is a Markov process"):
        list(tune(root, "markov.safetensors", model=str(model)))


def test_few_images_are_said(root):
    events = tune(root, "few.safetensors", images=50)
    assert any("fewer than twice" in event.message for event in events if isinstance(event, Noticed))


def test_a_model_that_is_a_file_is_changed_in_place_and_others_are_not(root, tmp_path):
    own = write_tiny(tmp_path / "own.safetensors")
    list(tune(root, "x", model=str(own), output=None, sweeps=0))
    assert load_model(own, device="cpu").card.tuned.keys() == {"4"}
    for model, why in (("sketch-to-3d-64", "is built in"), ("diode-vp-256", "is a download"), ("a/b", "is a download")):
        with pytest.raises(UsageError, match=why) as refused:
            next(tune(root, "x", model=model, output=None))
        assert "-o FILE" in refused.value.hint
    with pytest.raises(UsageError, match="exists already"):
        next(tune(root, "whole.safetensors"))


def test_budgets_are_added_to_those_of_the_card(root, done, tmp_path):
    list(
        tune(
            root, "x", model=str(root / "whole.safetensors"), output=tmp_path / "two.safetensors", nfe=(2, 3), sweeps=0
        )
    )
    assert load_model(tmp_path / "two.safetensors", device="cpu").card.tuned.keys() == {"2", "3", "4"}


@pytest.mark.parametrize("changes", [{"inpainting": True}, {"text_conditional": True}], ids=str)
def test_models_that_need_more_than_a_source_are_refused(root, tmp_path, changes):
    model = write_tiny(tmp_path / "m.safetensors", **changes)
    with pytest.raises((UsageError, ModelError)):
        list(tune(root, "x.safetensors", model=str(model)))


ENTRY = {
    "sampler": {"name": "implicit", "eta": 0.0}, "grid": {"name": "timesteps", "at": [0.9, 0.1]},
    "start": {"name": "booted"}, "steps": 2, "distance": 0.1, "distance_before": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    "tuned",
    [
        *([], "4", {"4": None}, {"four": ENTRY}, {"0": ENTRY}, {"-4": ENTRY}, {"4\n": ENTRY}, {"123456": ENTRY}),
        *({"4": ENTRY | {"steps": 0}}, {"4": ENTRY | {"steps": "many"}}, {"4": ENTRY | {"distance": -1}}),
        *(
            {"4": ENTRY | {"distance": float("nan")}},
            {"4": {**ENTRY, "sampler": 3}},
            {str(n): ENTRY for n in range(1, 99)},
        ),
        {"4": {name: value for name, value in ENTRY.items() if name != "grid"}},
    ],
    ids=lambda tuned: json.dumps(tuned)[:40],
)
def test_hostile_cards_are_refused(tuned):
    body = describe_card(tiny_card()) | {"tuned": tuned}
    with pytest.raises(ModelError) as refused:
        parse_card(body, where="file", hint="download the file again")
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "change", [{"sampler": {"name": "x"}}, {"grid": {"name": "timesteps", "at": [0.1, 0.9]}}, {"steps": 10**9}], ids=str
)
def test_settings_that_cannot_be_built_are_refused_at_loading(tmp_path, change):
    file = write_tiny(tmp_path / "m.safetensors", tuned={"4": ENTRY | change})
    with pytest.raises(ModelError, match="model card"):
        load_model(file, device="cpu")


def test_cards_round_trip():
    card = tiny_card(tuned={"4": ENTRY})
    assert parse_card(describe_card(card), where="file", hint="") == card
    assert dataclasses.replace(card, tuned={}).tuned == {}


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=lambda path: path.name)
@pytest.mark.parametrize("nfe", [2, 3, 5])
def test_searches_stay_within_the_budget_on_every_path(path, nfe, monkeypatch):
    monkeypatch.setattr(tuning, "NOISY", EVERY)
    prior = path.source_free
    start = start_of(path, prior=prior)
    options = {"prior": prior, "sweeps": 1, "places": 2}
    searching, count = search(path, nfe, **options), 0
    trial = next(searching)
    try:
        while True:
            plan = trial.setting.plan(path, start)
            assert plan.nfe <= nfe and plan.times.diff().lt(0).all() and plan.times[-1] == 0
            count += 1
            trial = searching.send(1 / count)
    except StopIteration as stop:
        assert stop.value[1] == 1 / count or path.discrete
    assert count <= trials_at_most(path, nfe, **options)


def test_budgets_that_no_sampler_has_are_refused():
    with pytest.raises(UsageError, match="no sampler can be tuned"):
        next(search(VPBridge(), 1, prior=False, sweeps=1, places=1))
    next(search(RectifiedFlow(), 1, prior=False, sweeps=1, places=1))
    assert start_of(VPBridge(), prior=False) == default_start(VPBridge(), Implicit())


def test_options_are_checked():
    for given in ({"images": "1"}, {"teacher": "1"}, {"places": "0"}, {"sweeps": "-1"}, {"val_share": "1"}):
        with pytest.raises(UsageError):
            from_options(TuneRequest, {"model": "m", "data": ("x",), **given}, command="tune")
