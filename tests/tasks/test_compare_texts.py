"""Comparisons of edits by instruction: prompts, both scales as columns, and the figures of a sweep."""

import csv
import json
import re

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.models import write_model
from ddbm_cli.options.sweep import read_axes
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.compare import request, run
from ddbm_cli.tasks.events import Failed
from ddbm_cli.tasks.sweep import grid
from tests.models.test_vocabulary import text_card
from tests.tasks.test_edges import fruit
from tests.tiny import tiny_weights, write_tiny

pytest.importorskip("tokenizers", reason='needs pip install "ddbm-cli[text]"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    for name, colour in (("a", "green"), ("b", "purple")):
        fruit(root / "in" / f"{name}.png", colour)
    card = text_card(condition_dropout=0.05)
    write_model(root / "m.safetensors", card, tiny_weights(card))
    return root


def compared(folder, output, *methods, **options):
    """Compare; return the events, and the JSON report."""
    given = {"source": str(folder / "in"), "model": str(folder / "m.safetensors"), "device": "cpu", "nfe": 2}
    outputs = tuple(output / f"cmp.{kind}" for kind in ("json", "html", "csv", "md"))
    events = list(run(request(**{**given, "methods": methods or ("default",), "outputs": outputs, **options})))
    return events, json.loads((output / "cmp.json").read_text())


def test_columns_are_scales_with_the_figures_of_a_sweep(folder, tmp_path):
    _, body = compared(
        folder, tmp_path, prompt="make it red", sweep=("image-guidance-scale=1,1.5", "guidance-scale=1,3")
    )
    labels = [row["method"] for row in body["methods"]]
    assert labels[1] == "default guidance scale 3.0 image guidance scale 1.0, 2 NFE" and len(set(labels)) == 4
    source, model = str(folder / "in"), str(folder / "m.safetensors")
    asked = translate.request(
        source=source, output=tmp_path / "grid", model=model, prompt="make it red", nfe=2, device="cpu"
    )
    list(grid(asked, read_axes(["image-guidance-scale=1,1.5", "guidance-scale=1,3"])))
    lines = list(csv.DictReader((tmp_path / "grid" / "sweep.csv").read_text().splitlines()))
    for row, line in zip(body["methods"], lines, strict=True):
        assert row["conditions"]["image_guidance_scale"] == float(line["image-guidance-scale"])
        assert (round(row["Similarity"], 4), round(row["Agreement"], 4)) == (
            float(line["similarity"]),
            float(line["agreement"]),
        )
    assert len({line["similarity"] for line in lines}) == 4
    page = (tmp_path / "cmp.html").read_text()
    assert "<b>Similarity against Agreement</b>" in page and page.count('class="thread"') == 2
    assert "<q>make it red</q>" in page
    table = (tmp_path / "cmp.md").read_text()
    assert "| Agreement ↑ | Similarity ↑ |" in table and "- prompt: make it red" in table
    assert "--prompt 'make it red' --nfe 2" in body["facts"]["command"]
    assert "--sweep image-guidance-scale=1,1.5 --sweep guidance-scale=1,3" in body["facts"]["command"]


def test_each_image_has_its_own_prompt_in_images_trajectories_and_reports(folder, tmp_path):
    (tmp_path / "prompts.txt").write_text("make it red\nmake it snow\n")
    _, own = compared(folder, tmp_path / "own", prompts=tmp_path / "prompts.txt")
    assert [each["prompt"] for each in own["inputs"]] == ["make it red", "make it snow"]
    assert list(own["methods"][0]["scores"]["Agreement"]) == ["a.png"]
    assert any(note.startswith("Agreement is of 1 of 2 inputs, not of those whose") for note in own["warnings"])
    assert "--prompt 'make it snow'" in own["methods"][0]["commands"]["b.png"]
    rows = list(csv.DictReader((tmp_path / "own" / "cmp.csv").read_text().splitlines()))
    assert [row["prompt"] for row in rows] == ["make it red", "make it snow"] and rows[1]["Agreement"] == ""
    _, _ = compared(folder, tmp_path / "all", prompt="make it red")
    strips = [
        re.findall(r'data-strip="([^"]*)"', (tmp_path / name / "cmp.html").read_text()) for name in ("own", "all")
    ]
    assert strips[0][0] == strips[1][0] and strips[0][1] != strips[1][1]


def test_text_files_next_to_images_are_their_prompts(folder, tmp_path):
    for name, text in (("a", "make it red"), ("b", "paint it red")):
        fruit(tmp_path / "in" / f"{name}.png", "green")
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    _, body = compared(folder, tmp_path, source=str(tmp_path / "in"))
    assert [each["prompt"] for each in body["inputs"]] == ["make it red", "paint it red"]
    assert body["facts"]["prompt"] == "2 different ones, in the .csv and .json tables"


def test_a_model_without_texts_leaves_its_column_empty(folder, tmp_path):
    plain = write_tiny(tmp_path / "plain.safetensors")
    events, body = compared(folder, tmp_path, "default", f"default:model={plain}", prompt="make it red")
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert "takes no text" in failed.message and "leave out --prompt" in failed.hint
    assert [row.get("error") for row in body["methods"]] == [None, "model 'tiny' takes no text"]


def test_without_prompts_there_are_no_figures_of_edits(folder, tmp_path):
    _, body = compared(folder, tmp_path)
    assert not {"Agreement", "Similarity"} & set(body["metrics"]) and "prompt" not in body["inputs"][0]
    assert "prompt" not in (tmp_path / "cmp.csv").read_text().splitlines()[0]


def test_prompts_that_do_not_fit_the_images_are_refused_at_once(folder, tmp_path):
    (tmp_path / "prompts.txt").write_text("make it red\n")
    with pytest.raises(UsageError, match="1 prompt for 2 images"):
        compared(folder, tmp_path, prompts=tmp_path / "prompts.txt")
    with pytest.raises(UsageError, match=r"none\.txt: no such file"):
        compared(folder, tmp_path, prompts=tmp_path / "none.txt")
    with pytest.raises(UsageError, match="not one of guidance-scale, image-guidance-scale"):
        compared(folder, tmp_path, prompt="red", sweep=("nfe=2,3",))
    assert not list(tmp_path.glob("cmp.*"))
