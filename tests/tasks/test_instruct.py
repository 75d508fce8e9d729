"""Laws of `ddbm data instruct`."""

import json

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.tasks.events import Failed, Finished, Noticed, Planned, Written
from ddbm_cli.tasks.instruct import InstructRequest, run
from tests.tasks.test_edges import files, fruit

COLOURS = {"apple": "red", "pear": "green", "plum": "purple"}


@pytest.fixture
def pictures(tmp_path):
    for name, colour in COLOURS.items():
        fruit(tmp_path / "pictures" / f"{name}.png", colour)
    return tmp_path / "pictures"


def instruct(pictures, *, output="out", **options):
    """Run the task; return its events, by kind."""
    request = InstructRequest(pictures=pictures, output=pictures.parent / output, **({"size": 16} | options))
    events = list(run(request))
    kinds = (Planned, Written, Failed, Noticed, Finished)
    return {kind: [event for event in events if isinstance(event, kind)] for kind in kinds}


def lines(folder):
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def test_each_image_gets_edits_of_different_kinds(pictures, tmp_path):
    events = instruct(pictures, per_image=3)
    found = lines(tmp_path / "out")
    assert events[Planned][0].total == 9 and events[Finished][0].written == len(found)
    for name in COLOURS:
        kinds = [line["edit"].partition(":")[0] for line in found if line["source"].startswith(f"before/{name}")]
        assert len(kinds) == len(set(kinds)) and 1 <= len(kinds) <= 3
    for line in found:
        assert line["caption"] and "{" not in line["caption"]
        sides = [Image.open(tmp_path / "out" / line[side]).convert("RGB") for side in ("source", "target")]
        assert sides[0].size == (16, 16) and sides[0].tobytes() != sides[1].tobytes()
        value = line["edit"].partition(":")[2]
        assert value in line["caption"]


def test_the_list_is_data_for_training(pictures, tmp_path):
    instruct(pictures)
    pairs = find_pairs([tmp_path / "out" / "pairs.jsonl"], val_share=0.0)
    assert len(pairs.train) == len(lines(tmp_path / "out"))
    assert {pair.caption for pair in pairs.train} == {line["caption"] for line in lines(tmp_path / "out")}


def test_a_pair_depends_on_its_image_alone(pictures, tmp_path):
    instruct(pictures)
    for name in ("apple", "plum"):
        (pictures / f"{name}.png").unlink()
    instruct(pictures, output="alone")
    together, alone = files(tmp_path / "out"), files(tmp_path / "alone")
    del together["pairs.jsonl"], alone["pairs.jsonl"]
    assert alone and alone == {name: body for name, body in together.items() if "/pear" in name}


def test_an_interrupted_run_is_resumed_to_the_same_files(pictures, tmp_path):
    instruct(pictures, output="whole")
    request = InstructRequest(pictures=pictures, output=tmp_path / "out", size=16)
    for event in run(request):
        if isinstance(event, Written):
            break  # as a kill between two pairs
    events = instruct(pictures)
    assert events[Finished][0].kept == 1 and files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    "options", [{"size": 24}, {"edits": ("flip",)}, {"per_image": 1}, {"seed": 1}, {"variants": True}], ids=str
)
def test_each_option_changes_the_pairs(pictures, tmp_path, options):
    if "variants" in options:
        options = {"variants": tones(pictures, tmp_path)}
    instruct(pictures, output="one")
    instruct(pictures, output="other", **options)
    assert files(tmp_path / "one") != files(tmp_path / "other")


def tones(pictures, tmp_path):
    table = tmp_path / "index.tsv"
    rows = ["file\tobject\tskin_tones\tsplit", "apple.png\tx\tlight\ttrain", "pear.png\tx\tdark\ttrain"]
    table.write_text("\n".join([*rows, "plum.png\ty\tdark\tval"]) + "\n")
    return table


def test_variants_are_pairs_of_one_object(pictures, tmp_path):
    table = tones(pictures, tmp_path)
    instruct(pictures, edits=("darker",), variants=table, split_by=table)
    found = {line["source"]: line for line in lines(tmp_path / "out") if line["edit"].startswith("skin:")}
    assert set(found) == {"before/apple-skin-dark.png", "before/pear-skin-light.png"}
    one = found["before/apple-skin-dark.png"]
    assert "dark" in one["caption"] and one["split"] == "train" and one["edit"] == "skin:dark"
    target = Image.open(tmp_path / "out" / one["target"])
    other = Image.open(tmp_path / "out" / found["before/pear-skin-light.png"]["source"])
    assert target.tobytes() == other.tobytes()
    assert {line["split"] for line in lines(tmp_path / "out")} == {"train", "val"}


def test_existing_pairs_are_kept_unless_overwritten(pictures, tmp_path):
    instruct(pictures, edits=("darker",))
    file = tmp_path / "out" / "after" / "apple-darker.png"
    body = file.read_bytes()
    file.write_bytes(b"mine")
    assert instruct(pictures, edits=("darker",))[Finished][0].written == 0 and file.read_bytes() == b"mine"
    assert instruct(pictures, edits=("darker",), overwrite=True)[Finished][0].written == 3 and file.read_bytes() == body


def test_a_dry_run_writes_nothing(pictures, tmp_path):
    assert instruct(pictures, dry_run=True)[Planned][0].total == 12 and not (tmp_path / "out").exists()


def test_damaged_and_unlisted_images_are_reported(pictures, tmp_path):
    (pictures / "bad.png").write_bytes(b"no image")
    table = tones(pictures, tmp_path)
    events = instruct(pictures, split_by=table)
    assert "not in" in events[Failed][0].message and events[Finished][0].failed == 1
    assert instruct(pictures)[Finished][0].failed == 4  # each of its edits


def test_edits_that_change_nothing_are_left_out_and_counted(pictures, tmp_path):
    Image.new("RGB", (16, 16), "white").save(pictures / "empty.png")
    events = instruct(pictures, edits=("darker",))
    assert "1 edits left out" in events[Noticed][0].message
    assert all("empty" not in line["source"] for line in lines(tmp_path / "out"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("file\tobject\n", "no column 'object'|no column 'file'"),
        ("file\tobject\tskin_tones\na.png\tx\tdark\n", "two skin"),
    ],
)
def test_a_table_of_variants_must_name_some(pictures, tmp_path, body, message):
    (tmp_path / "table.tsv").write_text(body)
    with pytest.raises(UsageError, match=message):
        instruct(pictures, variants=tmp_path / "table.tsv")


def test_a_list_of_others_is_not_replaced(pictures, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pairs.jsonl").write_text('{"source": "a.png", "target": "b.png"}\n')
    with pytest.raises(UsageError, match="not a list of edits"):
        instruct(pictures, overwrite=True)
    assert len(files(tmp_path / "out")) == 1


def test_skin_tones_name_no_other_folder(pictures, tmp_path):
    table = tmp_path / "index.tsv"
    table.write_text("file\tobject\tskin_tones\napple.png\tx\t../../light\npear.png\tx\tdark\nplum.png\tx\tpale\n")
    instruct(pictures, edits=("darker",), variants=table)
    skins = {line["edit"] for line in lines(tmp_path / "out")} - {"darker"}
    assert skins == {"skin:dark", "skin:pale"}
