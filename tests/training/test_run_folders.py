"""Runs never mix: which folder a training gets, what resumes it, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Planned, Stepped
from ddbm_cli.models import load_model
from ddbm_cli.models.seen import split_of
from ddbm_cli.tasks.train import request, run
from ddbm_cli.tasks.train.stored import newest, read_stored
from tests.tiny import write_pairs
from tests.training.test_training import same, tiny_request, weights


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_pairs(tmp_path / "pairs", 12)
    write_pairs(tmp_path / "others", 8, size=20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def steps_of(events):
    return [event.step for event in events if isinstance(event, Stepped)]


def facts_of(asked):
    return next(event for event in run(asked, dry_run=True) if isinstance(event, Planned)).facts


def test_other_data_or_another_recipe_get_a_folder_of_their_own(root):
    list(run(tiny_request(root, None, steps=2)))
    list(run(tiny_request(root, None, steps=2, data=[root / "others"])))
    list(run(tiny_request(root, None, steps=2, learning_rate=1e-3)))
    runs = {folder.name: read_stored(folder) for folder in (root / "runs").iterdir()}
    assert sorted(runs) == ["train", "train2", "train3"]
    assert runs["train"]["data"] == [str(root / "pairs")] and runs["train2"]["data"] == [str(root / "others")]
    assert runs["train3"]["recipe"]["learning_rate"] == 1e-3
    assert "runs/train holds a run with another recipe" in facts_of(tiny_request(root, None, steps=3))["Note"]


def test_the_same_command_again_resumes_its_run(root):
    list(run(tiny_request(root, None, steps=2, data=[root / "others"])))
    list(run(tiny_request(root, None, steps=2)))
    assert steps_of(run(tiny_request(root, None, steps=2))) == []
    assert sorted(folder.name for folder in (root / "runs").iterdir()) == ["train", "train2"]


@pytest.mark.parametrize("change", [{"data": "others"}, {"steps": 3}, {"path": "brownian"}, {"name": "x"}], ids=str)
def test_a_given_folder_with_another_run_is_refused(root, change):
    list(run(tiny_request(root, steps=2)))
    before = {file: file.read_bytes() for file in (root / "run").rglob("*.*") if file.is_file()}
    change = {"data": [root / "others"]} if "data" in change else change
    with pytest.raises(UsageError, match="run holds a run with another"):
        list(run(tiny_request(root, **{"steps": 2, **change})))
    assert before == {file: file.read_bytes() for file in (root / "run").rglob("*.*") if file.is_file()}


def test_images_that_changed_in_place_are_noticed(root):
    list(run(tiny_request(root, steps=2)))
    shutil.copyfile(root / "pairs" / "B" / "001.png", root / "pairs" / "B" / "000.png")
    with pytest.raises(UsageError, match="other images"):
        list(run(tiny_request(root, steps=2)))
    events = list(run(request({"recipe": {"steps": 3}}, resume=root / "run")))
    assert "other images" in events[0].facts["Changes"] and "steps 2 -> 3" in events[0].facts["Changes"]


def test_data_is_found_from_any_folder(root, monkeypatch):
    list(run(tiny_request(root, steps=2, data=["pairs"])))
    (root / "elsewhere" / "pairs").mkdir(parents=True)
    monkeypatch.chdir(root / "elsewhere")
    assert request({}, resume=root / "run").data == (root / "pairs",)


def test_relative_data_of_an_earlier_release_is_found(root, monkeypatch):
    list(run(tiny_request(root, "runs/old", steps=2)))
    file = root / "runs" / "old" / "config.json"
    body = json.loads(file.read_text()) | {"data": ["pairs"], "output": "runs/old"}
    del body["images"]
    file.write_text(json.dumps(body))
    monkeypatch.chdir(root / "others")
    assert request({}, resume=root / "runs" / "old").data == (root / "pairs",)


def test_what_was_ever_seen_stays_in_the_card(root):
    list(run(tiny_request(root, steps=4, val_share=0.0)))
    gone = root / "pairs" / "B" / "000.png"
    kept = shutil.move(gone, root / "gone.png")
    list(run(request({"recipe": {"steps": 5}}, resume=root / "run")))
    list(run(request({"recipe": {"steps": 6}}, resume=root / "run")))
    splits = load_model(root / "run" / "model.safetensors", device="cpu").card.seen
    assert split_of(splits, kept) == split_of(splits, root / "pairs" / "B" / "003.png") == "training"
    assert split_of(splits, root / "others" / "B" / "000.png") == "unknown"
    assert splits["training"].count(",") == 1, "a filter is kept once"


def test_resume_alone_takes_the_newest_run(root):
    list(run(tiny_request(root, "runs/first", steps=2)))
    list(run(tiny_request(root, "second", steps=2)))
    os.utime(root / "runs" / "first" / "state.safetensors", (2e9, 2e9))
    assert newest(root).name == "first" and request({}, resume=Path("latest")).output.name == "first"
    with pytest.raises(UsageError, match="no run to resume"):
        newest(root / "pairs")


@pytest.mark.parametrize(
    "wrong",
    [{"objective": "nonsense"}, {"times": "nonsense"}, {"network": "adm:channel=8"}, {"size": 9}],
    ids=str,
)
def test_a_misspelt_option_claims_no_folder(root, wrong):
    with pytest.raises(DdbmError):
        list(run(tiny_request(root, **wrong)))
    assert not (root / "run").exists()


def test_files_of_others_are_never_replaced(root):
    (root / "mine").mkdir()
    (root / "mine" / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not of a run"):
        list(run(tiny_request(root, "mine")))
    (root / "conf").mkdir()
    (root / "conf" / "config.json").write_text('{"theme": "dark"}')
    with pytest.raises(UsageError, match="not of a run"):
        list(run(tiny_request(root, "conf")))
    with pytest.raises(UsageError, match="a file"):
        list(run(tiny_request(root, "conf/config.json")))
    assert (root / "mine" / "model.safetensors").read_bytes() == b"mine"
    assert (root / "conf" / "config.json").read_text() == '{"theme": "dark"}'


def test_a_second_training_in_the_folder_is_refused(root):
    first = run(tiny_request(root, steps=50))
    list(islice(first, 3))
    for second in (tiny_request(root, steps=50), request({}, resume=root / "run")):
        with pytest.raises(DdbmError, match="in use by another training"):
            list(run(second))
    first.close()
    list(run(request({"recipe": {"steps": 2}}, resume=root / "run")))


def test_a_killed_training_leaves_no_lock(root):
    script = (
        "import os, signal; from pathlib import Path; from ddbm_cli.tasks.train.folder import RunFolder\n"
        "with RunFolder(Path('run')).locked(): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (root / "run" / ".ddbm-lock").exists()
    assert steps_of(run(tiny_request(root, steps=2))) == [1, 2]


def test_leftovers_of_a_killed_training_are_removed(root):
    list(run(tiny_request(root, steps=2)))
    ours = [".ddbm-0123456789abcdef.tmp", ".state.safetensors.123.tmp", "samples/.ddbm-0123456789abcdef.tmp"]
    theirs = [".ddbm-notes.tmp", "notes.tmp", ".ddbm-0123456789abcdef.tmp.bak"]
    (root / "run" / "samples").mkdir(exist_ok=True)
    for name in (*ours, *theirs):
        (root / "run" / name).write_text("x")
    list(run(request({}, resume=root / "run")))
    assert not any((root / "run" / name).exists() for name in ours)
    assert all((root / "run" / name).exists() for name in theirs)


def test_results_have_one_row_for_each_step(root):
    list(run(tiny_request(root, steps=6, validate_every=2, save_every=6)))
    table = root / "run" / "results.csv"
    whole = table.read_text()
    lines = whole.splitlines(keepends=True)
    table.write_text("".join([*lines, lines[-1], "8,0.1,0.2,0.3\n", "9,0"]))  # as a kill and a power cut leave it
    list(run(request({}, resume=root / "run")))
    assert table.read_text() == whole and [line.split(",")[0] for line in lines] == ["step", "2", "4", "6"]


def test_old_names_of_settings_still_load(root):
    list(run(tiny_request(root, steps=2, beta1=0.8, lr_decay_fraction=0.5)))
    file = root / "run" / "config.json"
    body = json.loads(file.read_text())
    recipe = body["recipe"]
    recipe["momentum"], recipe["decay"] = recipe.pop("beta1"), recipe.pop("lr_decay_fraction")
    body["name"], body["prediction"] = "bridge", body["prediction"].replace("c_noise", "clock")
    body["task"] = body.pop("translates")
    del body["images"]
    file.write_text(json.dumps(body))
    assert facts_of(request({}, resume=root / "run"))["Resumes"] == "at step 2 of 2"
    (root / "old.toml").write_text("[recipe]\nmomentum = 0.7\ndecay = 0.1\n")
    asked = request({"data": ["pairs"]}, config=root / "old.toml")
    assert (asked.recipe.beta1, asked.recipe.lr_decay_fraction) == (0.7, 0.1)


def test_a_setting_in_the_wrong_table_is_explained(root):
    for text, message in (
        ("batch_size = 4", r"'batch_size' belongs below \[recipe\]"),
        ("sampler = 'euler'", r"'sampler' belongs below \[sampling\]"),
        ("[recipe]\nsize = 4", r"\[recipe\] has no 'size'"),
        ("nonsense = 1", "'nonsense' is not a setting"),
        ("recipe = 1", "'recipe' is not a table"),
        ("[recipe]\nmomentum = 0.1\nbeta1 = 0.2", "set twice"),
    ):
        (root / "c.toml").write_text(text)
        with pytest.raises(UsageError, match=message):
            request({"data": ["pairs"]}, config=root / "c.toml")


def test_a_model_is_named_after_its_run(root):
    list(run(tiny_request(root, "runs/foxes", steps=1)))
    assert load_model(root / "runs" / "foxes" / "model.safetensors", device="cpu").name == "foxes"


def test_a_validation_that_was_interrupted_is_done_on_resume(root):
    """And the weights are those of a run that was not interrupted."""
    list(run(tiny_request(root, "whole", steps=6, validate_every=3)))
    steps = []

    def stop():
        return len(steps) >= 3

    for event in run(tiny_request(root, "cut", steps=6, validate_every=3), stop=stop):
        steps += [event.step] if isinstance(event, Stepped) else []
    assert not (root / "cut" / "results.csv").exists()
    list(run(request({}, resume=root / "cut")))
    assert (root / "cut" / "results.csv").read_text() == (root / "whole" / "results.csv").read_text()
    assert same(weights(root / "whole"), weights(root / "cut"))
