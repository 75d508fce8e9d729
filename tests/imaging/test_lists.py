"""Lists of pairs: columns, splits, classes, damaged and hostile lines."""

import json

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.pairs import find_pairs
from tests.imaging.test_pairs import names, put


def found(root, text, name="list.csv", **options):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return find_pairs([file], **{"val_share": 0, **options})


@pytest.fixture
def root(tmp_path):
    put(*(tmp_path / f"{side}/{name}.png" for side in ("x", "y") for name in "abcdef"))
    return tmp_path


def lines(form, rows):
    if form == "list.csv":
        return "source,target\n" + "\n".join(",".join(row) for row in rows)
    if form == "list.tsv":
        return "source\ttarget\n" + "\n".join("\t".join(row) for row in rows)
    objects = [dict(zip(("source", "target"), row, strict=True)) for row in rows]
    return json.dumps(objects) if form == "list.json" else "\n\n".join(map(json.dumps, objects))


@pytest.mark.parametrize("form", ["list.csv", "list.tsv", "list.jsonl", "list.ndjson", "list.json"])
def test_every_form_gives_the_same_pairs(root, form):
    pairs = found(root, lines(form, [("x/a.png", "y/b.png"), ("x/c.png", "y/d.png")]), form).train
    assert [(pair.source, pair.target) for pair in pairs] == [
        (root / "x/a.png", root / "y/b.png"),
        (root / "x/c.png", root / "y/d.png"),
    ]


@pytest.mark.parametrize(
    "header",
    ["source,target", "Source_File_Name,Target_File_Name", "A,B", "input_image,edited_image", "input,output"],
)
def test_columns_may_have_the_usual_names(root, header):
    pair = found(root, f"{header}\nx/a.png,y/b.png").train[0]
    assert (pair.source.name, pair.target.name) == ("a.png", "b.png")


@pytest.mark.parametrize(
    ("header", "source"),
    [
        ("file_name,conditioning_image_file_name", "b.png"),
        ("file_name,source_file_name", "b.png"),
        ("file_name,target_file_name", "a.png"),
        ("file_name,edited_image_file_name", "a.png"),
    ],
)
def test_one_side_may_be_the_file_name_of_an_image_folder(root, header, source):
    pair = found(root, f"{header}\nx/a.png,y/b.png").train[0]
    assert pair.source.name == source != pair.target.name


def test_json_lines_may_be_named_json(root):
    text = "\n".join(json.dumps({"source": f"x/{n}.png", "target": f"y/{n}.png", "prompt": n}) for n in "abc")
    assert [pair.caption for pair in found(root, text, "prompt.json").train] == ["a", "b", "c"]
    with pytest.raises(UsageError, match="line 2"):
        found(root, '{"source": "x/a.png", "target": "y/a.png"}\n{"sour', "prompt.json")


def test_a_list_that_names_training_pairs_only_has_some_held_out(root):
    text = "source,target,split\n" + "\n".join(f"x/{n}.png,y/{n}.png,train" for n in "abcdef")
    both = found(root, text, val_share=0.3)
    assert both.train and both.val and not both.notes
    assert len(found(root, text).train) == 6


def test_the_name_of_a_list_is_the_split_of_rows_without_one(root):
    rows = [(f"x/{n}.png", f"y/{n}.png") for n in "abcdef"]
    for name, part in (("train.csv", rows[:4]), ("val.csv", rows[4:])):
        (root / name).write_text(lines("list.csv", part))
    both = find_pairs([root / "train.csv", root / "val.csv"], val_share=0.9)
    assert names(both.train) == ["y/a", "y/b", "y/c", "y/d"] and names(both.val) == ["y/e", "y/f"]
    with pytest.raises(UsageError, match="2 are of a split that is held out"):
        find_pairs([root / "val.csv"], val_share=0)


def test_columns_as_controlnet_data_sets_name_them(root):
    pair = found(root, "image,conditioning_image,text\ny/b.png,x/a.png,a house").train[0]
    assert (pair.source.name, pair.target.name, pair.caption) == ("a.png", "b.png", "a house")


def test_a_byte_order_mark_and_semicolons_are_read(root):
    assert names(found(root, b"\xef\xbb\xbfsource;target\r\nx/a.png;y/a.png\r\n").train) == ["y/a"]


def test_class_caption_and_split(root):
    text = "source,target,class,caption,split\n"
    text += "x/a.png,y/a.png,cat,one,train\nx/b.png,y/b.png,dog,two,val\nx/c.png,y/c.png,cat,,test\n"
    both = found(root, text, val_share=0.9)
    assert names(both.train) == ["y/a"] and names(both.val) == ["y/b"]
    assert both.train[0].class_name == "cat" and both.val[0].caption == "two"


def test_without_a_split_the_share_decides_and_one_target_stays_on_one_side(root):
    rows = [(f"x/{name}.png", f"y/{'ab'[index % 2]}.png") for index, name in enumerate("abcdef")]
    both = found(root, lines("list.csv", rows), val_share=0.5)
    assert both.train and both.val and not {p.target for p in both.train} & {p.target for p in both.val}


def test_direction_exchanges_the_sides(root):
    text = lines("list.csv", [("x/a.png", "y/b.png")])
    assert found(root, text, swap=True).train[0].target == root / "x/a.png"
    assert found(root, text, swap=True, targets_only=True).train[0].target == root / "x/a.png"
    assert found(root, text, targets_only=True).train[0].source is None


def test_direction_of_folders_and_of_side_by_side_images(tmp_path):
    put(tmp_path / "p/A/1.png", tmp_path / "p/B/1.png")
    pair = find_pairs([tmp_path / "p"], val_share=0, swap=True).train[0]
    assert (pair.source, pair.target) == (tmp_path / "p/B/1.png", tmp_path / "p/A/1.png")
    only = find_pairs([tmp_path / "p"], val_share=0, swap=True, targets_only=True).train[0]
    assert only.target == tmp_path / "p/A/1.png"
    (tmp_path / "s").mkdir()
    Image.new("RGB", (8, 4)).save(tmp_path / "s/1.png")
    both = find_pairs([tmp_path / "s"], val_share=0, swap=True)
    assert both.train[0].mirrored and "target left, source right" in both.folders[0]


def test_images_alone(root):
    assert names(found(root, "file_name\nx/a.png\ny/b.png", targets_only=True).train) == ["x/a", "y/b"]


def test_missing_files_are_named_with_their_line_and_half_pairs_counted(root):
    both = found(root, lines("list.csv", [("x/a.png", "y/a.png"), ("x/none.png", "y/b.png"), ("", "y/c.png")]))
    assert names(both.train) == ["y/a"] and [path.name for path in both.unpaired] == ["c.png"]
    assert "none.png: no such file" in both.broken[0].message and "line 3" in both.broken[0].message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no pairs in this list"),
        ("left,right\nx/a.png,y/a.png", "no columns of sources and targets; its columns: left, right"),
        ("x/a.png,y/a.png\nx/b.png,y/b.png", "no columns of sources and targets"),
        ("source,target,split\nx/a.png,y/a.png,blind", "line 2: 'blind' is not a split"),
        ("source,target\nhttps://host/a.png,y/a.png", "line 2: 'https://host/a.png' is not a file"),
        ("source,target\nx/none.png,y/none.png", "no pairs to train on"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(root, text, words):
    with pytest.raises(UsageError) as error:
        found(root, text)
    assert words in error.value.message and error.value.hint and "\n" not in error.value.message


@pytest.mark.parametrize("line", ["[1]", "3", '{"source": ', '{"source": 5, "target": "y/a.png"}', "[" * 100_000])
def test_a_bad_line_of_json_is_named(root, line):
    with pytest.raises(UsageError, match="line 2") as error:
        found(root, '{"source": "x/a.png", "target": "y/a.png"}\n' + line, "list.jsonl")
    assert len(error.value.message) < 400


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_hugging_face_image_folder(tmp_path, form):
    for split in ("train", "validation"):
        put(*(tmp_path / split / f"{name}.png" for name in ("a", "b")))
        row = {"file_name": "b.png", "source_file_name": "a.png", "target_file_name": "b.png"}
        body = json.dumps(row) if form == "jsonl" else ",".join(row) + "\n" + ",".join(row.values())
        (tmp_path / split / f"metadata.{form}").write_text(body)
    both = find_pairs([tmp_path], val_share=0)
    assert [pair.target for pair in both.train] == [tmp_path / "train/b.png"]
    assert [pair.target for pair in both.val] == [tmp_path / "validation/b.png"]


@pytest.mark.parametrize("path", ["../outside.png", "{root}/outside.png"])
def test_the_metadata_of_a_folder_reads_nothing_outside_of_it(tmp_path, path):
    put(tmp_path / "outside.png", tmp_path / "data/a.png")
    path = path.format(root=tmp_path)
    (tmp_path / "data/metadata.csv").write_text(f"source,target\na.png,{path}")
    with pytest.raises(UsageError):
        find_pairs([tmp_path / "data"], val_share=0)
