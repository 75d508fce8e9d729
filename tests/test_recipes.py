"""The recipes of built-in models: the measures of the one that edits by instruction, and what is packaged."""

import dataclasses
import json
import math
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.settings import build
from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.vocabulary import learn
from ddbm_cli.networks import NETWORKS
from tests.models.test_vocabulary import text_card
from tests.recipes import compare_clothing, measure_instruct, ship, ship_instruct, sketch_to_clothing
from tests.tasks.test_instruct import instruct, lines, pictures
from tests.tiny import tiny_card, tiny_weights, write_pairs

__all__ = ["pictures"]

pytest.importorskip("tokenizers", reason='needs pip install "ddbm-cli[text]"')


@pytest.fixture
def edits(pictures, tmp_path):
    """Triplets of three objects, one of which is held out, and two runs."""
    table = tmp_path / "index.tsv"
    table.write_text("file\tobject\tsplit\napple.png\tx\ttrain\npear.png\ty\ttrain\nplum.png\tz\tval\n")
    instruct(pictures, output="edits", edits=("darker", "recolour", "flip"), split_by=table)
    known = learn(line["caption"] for line in lines(tmp_path / "edits"))
    for seed, run in enumerate(("bridge", "noise")):
        card = text_card(
            vocabulary=known, condition_dropout=0.05, limits="small images", training={"steps": 7, "seconds": 3600}
        )
        (tmp_path / run).mkdir()
        write_model(tmp_path / run / "model.safetensors", card, tiny_weights(card, seed=seed))
    return tmp_path / "edits" / "pairs.jsonl"


def test_two_models_are_measured_in_one_table_at_equal_evaluations(edits, tmp_path):
    models = dict(map(measure_instruct.named, (str(tmp_path / "bridge"), f"other={tmp_path / 'noise'}")))
    rows = measure_instruct.measure(models, edits, tmp_path / "out", scales=((1.0, 1.0), (1.5, 3.0)), nfe=2)
    assert [(row.model, row.scales, row.nfe) for row in rows] == [
        ("bridge", "1:1", 2), ("bridge", "1.5:3", 2), ("other", "1:1", 2), ("other", "1.5:3", 2),
    ]  # fmt: skip
    held_out = measure_instruct.held_out(edits)
    assert rows[0].table["all"]["cases"] == len(held_out) > 0
    assert rows[0].table != rows[2].table
    folder = tmp_path / "out" / f"{len(held_out)}-cases"
    table = (folder / "table.md").read_text().splitlines()
    assert len(table) == 2 + 4 * len(rows[0].table) and table[2].startswith("| bridge | 1:1 | 2 | ")
    assert len(json.loads((folder / "table.json").read_text())) == 4


def test_the_model_of_garments_fits_its_file():
    """Known before hours of training, at whose end the recipe refuses a larger file."""
    recipe = tomllib.loads((sketch_to_clothing.HERE / f"{sketch_to_clothing.MODEL}.toml").read_text())
    config = build(NETWORKS, recipe["network"], what="network")
    with torch.device("meta"):
        network = dataclasses.replace(config, classes=20).create()
    heading = 100_000
    assert sum(2 * each.numel() for each in network.parameters()) + heading < sketch_to_clothing.LARGEST


def test_all_garment_models_are_trained_as_long_and_each_part_begins_as_the_one_before(tmp_path, monkeypatch):
    begun = {}

    def train(data, config, run, options):
        run.mkdir()
        told = dict(zip(options[::2], options[1::2], strict=True))
        begun[run.name] = config.name, float(told["--hours"]), told.get("--from", "none/").split("/")[-2]
        assert config.exists()

    monkeypatch.setattr(sketch_to_clothing, "train", train)
    names = sketch_to_clothing.make([tmp_path], tmp_path / "codec", tmp_path, 10, [])
    hours = {name: begun[name][1] for name in begun}
    starts = {name: begun[name][2] for name in begun}
    for name in names:
        total, part = 0.0, name
        while part in begun:
            total, part = total + hours[part], starts[part]
        assert total == pytest.approx(10), name
    assert starts[sketch_to_clothing.MODEL] == "pixels-256" and starts[sketch_to_clothing.SMALLER] == "pixels-128"
    assert begun["pixels-256"][0] == begun[sketch_to_clothing.MODEL][0]


def test_garment_models_are_compared_on_the_same_sketches_and_one_is_packaged(tmp_path):
    pytest.importorskip("stlpips_pytorch")
    write_pairs(tmp_path / "ink" / "val", 3)
    files = {name: tmp_path / f"{name}.safetensors" for name in ("first", "second")}
    for seed, file in enumerate(files.values()):
        card = tiny_card(name=file.stem, limits="small images", training={"steps": 7, "seconds": 3600})
        write_model(file, card, tiny_weights(card, seed=seed))
    out = tmp_path / "out"
    scores = compare_clothing.compare(files, [tmp_path / "ink"], out)
    rows = [line.split(" | ") for line in (out / "table.md").read_text().splitlines()[2:]]
    assert [row[0] + " " + row[1] for row in rows] == ["| first own", "| second own", "| second equal seconds"]
    assert scores["first"]["ink"]["images"] == 3 and scores["first"] != scores["second"]
    truths = sorted((tmp_path / "ink" / "val" / "B").glob("*.png"))
    perfect = compare_clothing.figures(truths, truths)
    assert set(perfect.values()) == {0.0} and scores["first"]["ink"]["mse"] > 0
    widths = []
    for sheet in ("sketches", "models", "truth"):
        with Image.open(out / f"{sheet}.png") as image:
            widths.append(image.width)
    assert widths[0] < widths[1] < widths[2]
    write_model(files["second"], card, tiny_weights(card, seed=9))
    assert compare_clothing.compare(files, [tmp_path / "ink"], out)["second"] != scores["second"], "it is another model"
    registry = tmp_path / "weights.toml"
    registry.write_text(ship.BEFORE)
    file = sketch_to_clothing.ship(files["first"], scores["first"], out, assets=tmp_path / "assets", registry=registry)
    assert read_model(file)[0].scores == scores["first"]
    assert tomllib.loads(registry.read_text())["first"]["size"] == file.stat().st_size
    assert (tmp_path / "assets" / "sketch-to-clothing.jpg").exists()


def test_a_model_of_several_parts_states_the_work_of_all():
    parts = [
        tiny_card(training={"steps": n, "seconds": 10 * n, "precision": "bf16", "started_from": "x"}) for n in (7, 3)
    ]
    wanted = {"steps": 10, "seconds": 100, "precision": "bf16", "parts": 2}
    assert sketch_to_clothing.training_of(parts) == wanted


def test_some_are_taken_at_even_distances():
    assert ship.evenly(range(10), 4) == [0, 2, 5, 7] and ship.evenly("abc", 5) == ["a", "b", "c"]


def test_results_of_another_model_are_replaced(edits, tmp_path):
    def measured(run):
        return measure_instruct.measure(
            {"m": tmp_path / run / "model.safetensors"}, edits, tmp_path / "out", scales=((1.0, 1.0),), nfe=2
        )

    first = measured("bridge")
    assert measured("bridge") == first and measured("noise") != first


def test_what_is_kept_is_what_the_true_answer_leaves_as_it_is(edits, tmp_path):
    line = next(line for line in measure_instruct.held_out(edits) if line["edit"] == "darker")
    before, after = (measure_instruct.pixels(edits.parent / line[side]) for side in ("source", "target"))
    true = measure_instruct.scored(edits, line, edits.parent / line["target"])
    assert true.progress == pytest.approx(1) and true.iou == 1 and true.kept == 1
    paper = np.abs(after - before).max(axis=2) < 0.02
    spoilt = np.where(paper[..., None], before - 0.2, after)
    Image.fromarray(np.rint(255 * spoilt).astype(np.uint8)).save(tmp_path / "spoilt.png")
    case = measure_instruct.scored(edits, line, tmp_path / "spoilt.png")
    assert case.kept == pytest.approx(0.8, abs=0.01) and case.progress > 0.9
    table = measure_instruct.table_of([case, case._replace(progress=0.1, kept=math.nan)])
    assert table["all"] == table["darker"] and table["all"]["moved"] == 0.5
    assert table["all"]["kept"] == pytest.approx(case.kept)


def test_a_run_is_packaged_with_its_figures_and_its_vocabulary(edits, tmp_path):
    registry = tmp_path / "weights.toml"
    registry.write_text(ship.BEFORE)
    file = ship_instruct.ship(
        tmp_path / "bridge" / "model.safetensors", [edits], assets=tmp_path / "assets", registry=registry, nfe=2
    )
    card, weights = read_model(file)
    assert {str(each.dtype) for each in weights.values()} == {"torch.float16"} and card.name == "instruct-small"
    images = len(measure_instruct.held_out(edits))
    assert card.scores["edits"]["held_out_images"] == images == card.scores["edits"]["1:1"]["all"]["cases"]
    assert card.training["steps"] == 7 and card.licence == "MIT" and "make it darker" in card.limits
    known = [line for line in lines(edits.parent) if line["split"] == "train"]
    assert all(line["edit"].partition(":")[2] in card.limits for line in known)
    assert set(card.vocabulary.words) == set(" ".join(line["caption"] for line in known).split())
    entry = tomllib.loads(registry.read_text())["instruct-small"]
    assert entry["size"] == file.stat().st_size and entry["builtin"] and len(entry["fingerprint"]) == 18
    assert load_model(str(file), device="cpu").takes_text
    with Image.open(tmp_path / "assets" / "instruct-small.jpg") as sheet:
        kinds = {line["edit"].partition(":")[0] for line in measure_instruct.held_out(edits)}
        assert sheet.height == 2 + 130 * -(-len(kinds) // ship_instruct.COLUMNS)


def test_a_file_that_is_too_large_is_not_packaged(edits, tmp_path, monkeypatch):
    monkeypatch.setattr(ship_instruct, "LARGEST", 1000)
    with pytest.raises(SystemExit, match="more than 1,000"):
        ship_instruct.ship(tmp_path / "bridge" / "model.safetensors", [edits], assets=tmp_path / "assets")
    assert not (tmp_path / "assets").exists()
