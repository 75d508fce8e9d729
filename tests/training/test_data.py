"""The data of a run: checked before the first step, fitted to a square, and named in the header."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Noticed, Planned
from ddbm_cli.models import load_model
from ddbm_cli.tasks.train import data as data_module
from ddbm_cli.tasks.train import request, run
from ddbm_cli.tasks.train.data import load_data
from tests.tiny import SMALLEST, write_pairs
from tests.training.test_training import same


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "pairs", 12)
    return tmp_path


def asked(root, **changes):
    recipe = {"steps": 6, "batch_size": 4, "warmup": 0, "validate_every": 3}
    body = {"data": [root / "pairs"], "output": root / "run", "network": SMALLEST, "size": 16, "device": "cpu"}
    return request({**body, "recipe": recipe, **changes})


def cut(file):
    file.write_bytes(file.read_bytes()[:60])


def header(root, **changes):
    (planned,) = run(asked(root, **changes), dry_run=True)
    assert isinstance(planned, Planned)
    return planned.facts


def photographs(root, background):
    for side in "AB":
        for index in range(12):
            pixels = np.full((20, 40, 3), background, dtype=np.uint8)
            pixels[5:15, 10:30] = 20 * index
            Image.fromarray(pixels).save(root / "pairs" / side / f"{index:03d}.png")


def test_broken_pairs_are_named_before_the_first_step_and_skipped(root):
    cut(root / "pairs" / "B" / "003.png")
    cut(root / "pairs" / "A" / "007.png")
    events = list(run(asked(root, val_share=0)))
    facts = next(event for event in events if isinstance(event, Planned)).facts
    assert "12 pairs to train on" in facts["Data"] and "2 unusable" in facts["Data"]
    assert "B/003.png: damaged image" in facts["Unusable"] and "A/007.png" in facts["Unusable"]
    assert events[-1].step == 6


def test_broken_pairs_of_large_sets_are_named_when_they_are_drawn(root, monkeypatch):
    monkeypatch.setattr(data_module, "DECODED_BYTES", 0)
    cut(root / "pairs" / "B" / "003.png")
    events = list(run(asked(root, val_share=0)))
    noticed = [event.message for event in events if isinstance(event, Noticed)]
    assert len(noticed) == 1 and "003.png: damaged image" in noticed[0] and events[-1].step == 6
    assert "unusable" not in header(root, val_share=0, output=root / "new")["Data"]
    assert "1 unusable" in header(root, val_share=0, output=root / "new", check=True)["Data"]


def test_the_weights_do_not_depend_on_when_a_fault_is_found(root, monkeypatch):
    cut(root / "pairs" / "B" / "003.png")
    list(run(asked(root, val_share=0, output=root / "checked")))
    monkeypatch.setattr(data_module, "DECODED_BYTES", 0)
    list(run(asked(root, val_share=0, output=root / "drawn")))
    first, second = (load_file(root / name / "model.safetensors") for name in ("checked", "drawn"))
    assert same(first, second)


def test_broken_held_out_pairs_are_left_out_of_the_validation(root):
    for name in ("000", "001", "002"):
        cut(root / "pairs" / "B" / f"{name}.png")
    loaded = load_data(asked(root, val_share=0.9), exclude=())
    good = [pair.name for pair in loaded.pairs.val]
    assert good and not {"000", "001", "002"} & set(good)
    assert len(loaded.held_out) == len(good) and len(loaded.failures) == 3


def test_more_broken_than_good_pairs_are_refused(root):
    for index in range(7):
        cut(root / "pairs" / "B" / f"{index:03d}.png")
    with pytest.raises(DdbmError, match="7 of 12 pairs cannot be used"):
        list(run(asked(root, val_share=0)))
    assert not (root / "run").exists()


def test_pairs_of_two_shapes_are_refused_with_their_sizes(root):
    for file in (root / "pairs" / "B").iterdir():
        Image.new("RGB", (32, 16)).save(file)
    with pytest.raises(DdbmError, match="16x16 and 32x16 pixels differ in their proportions"):
        header(root, val_share=0)
    assert "fit stretch" in header(root, val_share=0, fit="stretch")["Images"]


@pytest.mark.parametrize(("background", "fit"), [(90, "crop"), (255, "pad")])
def test_photographs_are_cropped_and_drawings_padded(root, background, fit):
    photographs(root, background)
    assert f"fit {fit}" in header(root)["Images"]
    list(run(asked(root)))
    assert load_model(root / "run" / "model.safetensors", device="cpu").card.preprocess.fit == fit
    assert json.loads((root / "run" / "config.json").read_text())["fit"] == fit


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_the_fit_that_is_passed_is_used_and_resumed(root, fit):
    photographs(root, 90)
    list(run(asked(root, fit=fit)))
    resumed = request({}, resume=root / "run")
    assert resumed.fit == fit and not resumed.check
    assert load_data(resumed, exclude=()).request == resumed


def test_runs_of_earlier_releases_keep_their_borders(root):
    photographs(root, 90)
    list(run(asked(root, fit="pad")))
    file = root / "run" / "config.json"
    body = json.loads(file.read_text())
    del body["fit"]
    file.write_text(json.dumps(body))
    assert request({}, resume=root / "run").fit == "pad"
    events = list(run(asked(root, fit="pad", output=root / "run")))
    assert events[-1].step == 6


def test_what_is_left_out_is_in_the_header(root):
    (root / "pairs" / "A" / "notes.txt").write_text("")
    (root / "pairs" / "B" / ".ipynb_checkpoints").mkdir()
    (root / "pairs" / "A" / "gone.png").symlink_to("nowhere")
    facts = header(root)
    assert "1 hidden, 1 not an image" in facts["Left out"] and "gone.png: no such file" in facts["Left out"]
    assert facts["Folders"] == f"{root / 'pairs' / 'A'} -> {root / 'pairs' / 'B'}"


def test_many_faults_are_counted(root):
    loaded = load_data(asked(root, val_share=0), exclude=())
    errors = [DdbmError(f"fault {index}", hint="") for index in range(9)]
    text = dataclasses.replace(loaded, failures=errors).facts()["Unusable"]
    assert text.endswith("fault 4; and 4 more; see ddbm data check")


def test_a_list_with_classes_trains_in_the_direction_that_is_asked(root):
    rows = [f"A/{index:03d}.png,B/{index:03d}.png,{'cat' if index % 2 else 'dog'}" for index in range(12)]
    (root / "pairs" / "list.csv").write_text("source,target,class\n" + "\n".join(rows))
    changes = {"data": [root / "pairs" / "list.csv"], "classes": True, "val_share": 0, "augment": []}
    there, back = (load_data(asked(root, direction=name, **changes), exclude=()) for name in ("AtoB", "BtoA"))
    assert there.labels.classes == ("cat", "dog")
    assert (there.batches[0].target == back.batches[0].source).all()
    assert not (there.batches[0].target == back.batches[0].target).all()
    list(run(asked(root, direction="BtoA", **changes)))
    assert request({}, resume=root / "run").direction == "BtoA"


def test_sources_are_made_from_a_folder_of_targets(root):
    targets = {"data": [root / "pairs" / "B"], "source": "degrade:sr4", "augment": ["flip", "colour"]}
    loaded = load_data(asked(root, **targets), exclude=())
    batch, other = loaded.batches[3], load_data(asked(root, **targets), exclude=()).batches[3]
    assert torch.equal(batch.source, other.source) and not torch.equal(batch.source, batch.target)
    blocks = batch.source.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert (blocks == blocks[..., :1]).all()
    assert torch.equal(loaded.held_out.pair(0)[1], loaded.held_out.pair(0)[1])
    facts = header(root, **targets)
    assert facts["Sources"] == "made from the targets by degrade:sr4" and "11 pairs to train on" in facts["Data"]


def test_a_model_trained_on_holes_is_an_inpainting_model(root, ddbm):
    changes = {"data": [root / "pairs" / "B"], "source": "degrade:inpaint-freeform", "augment": []}
    list(run(asked(root, **changes)))
    card = load_model(root / "run" / "model.safetensors", device="cpu").card
    assert card.inpainting and card.concat_source
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 8, 8))
    mask.save(root / "mask.png")
    given = ("translate", root / "pairs/B/000.png", root / "out.png", "-m", root / "run", "--mask", root / "mask.png")
    assert ddbm(*given)[0] == 0
    before, after = (np.asarray(Image.open(file)) for file in (root / "pairs/B/000.png", root / "out.png"))
    changed = (before != after).any(2)
    assert changed[4:8, 4:8].any() and not changed[:4].any() and not changed[8:].any()
    drawn = load_data(asked(root, **changes), exclude=()).batches[0].source
    assert (drawn == 0).all(1).any() and len({each.numpy().tobytes() for each in (drawn == 0)}) > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "degrade:sr8", "size": 20, "fit": "pad"}, "--size 20 does not fit degrade:sr8"),
        ({"source": "degrade:sr4", "task": "prior"}, "a prior has no sources"),
        ({"source": "degrade:rain"}, "degrade:rain"),
    ],
)
def test_sources_that_cannot_be_made_are_refused(root, changes, words):
    with pytest.raises(UsageError, match=words) as error:
        header(root, **changes)
    assert error.value.hint
