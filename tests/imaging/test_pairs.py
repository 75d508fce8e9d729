"""Finding pairs: layouts, names, what is held out."""

import os
import unicodedata

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.prepare import looks_of, prepared, probed
from ddbm_cli.imaging.preprocess import Preprocess


def put(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)


def names(pairs):
    return [pair.name for pair in pairs]


def test_pairs_are_files_of_one_stem(tmp_path):
    put(tmp_path / "A/x.png", tmp_path / "B/x.jpg", tmp_path / "A/sub/y.png", tmp_path / "B/sub/y.png")
    put(tmp_path / "A/alone.png", tmp_path / "A/.hidden.png", tmp_path / "B/.hidden.png")
    (tmp_path / "A/notes.txt").write_text("")
    found = find_pairs([tmp_path], val_share=0)
    assert names(found.train) == ["sub/y", "x"] and [path.name for path in found.unpaired] == ["alone.png"]


@pytest.mark.parametrize(
    "layout",
    [
        "train/A train/B val/A val/B",
        "trainA trainB testA testB",
        "train_A train_B val_A val_B",
        "A/train B/train A/val B/val",
        "a/Train b/Train a/Valid b/Valid",
        "source/train target/train source/test target/test",
        "train/input train/output validation/input validation/output",
    ],
)
def test_layouts_that_name_their_split(tmp_path, layout):
    for index, folder in enumerate(layout.split()):
        put(tmp_path / folder / f"{'t' if index < 2 else 'v'}.png")
    found = find_pairs([tmp_path], val_share=0.5)
    assert names(found.train) == ["t"] and names(found.val) == ["v"]
    source, target = layout.split()[:2]
    assert f"{tmp_path / source} -> {tmp_path / target}; held out:" in found.folders[0]


@pytest.mark.parametrize("sides", ["A B", "source target", "input output", "Inputs Targets", "lq gt", "LR HR"])
def test_layouts_without_a_split(tmp_path, sides):
    for side in sides.split():
        put(tmp_path / side / "x.png")
    found = find_pairs([tmp_path], val_share=0)
    source, target = sides.split()
    assert [(pair.source, pair.target) for pair in found.train] == [
        (tmp_path / source / "x.png", tmp_path / target / "x.png")
    ]


@pytest.mark.parametrize("layout", ["{side}/{split}", "{split}/{side}", "{split}{side}"])
@pytest.mark.parametrize("targets_only", [False, True])
def test_what_is_for_testing_is_never_trained_on(tmp_path, layout, targets_only):
    for side in "AB":
        for split in ("train", "val", "test"):
            put(tmp_path / layout.format(side=side, split=split) / f"{split}.png")
    found = find_pairs([tmp_path], val_share=0.9, targets_only=targets_only)
    assert names(found.train) == ["train"] and names(found.val) == ["val"]


def test_a_test_folder_among_other_images_is_held_out(tmp_path):
    for side in "AB":
        put(*(tmp_path / side / name for name in ("1.png", "2.png", "test/3.png")))
    found = find_pairs([tmp_path], val_share=0.9)
    assert names(found.train) == ["1", "2"] and names(found.val) == ["3"]


def test_a_class_may_be_called_train(tmp_path):
    for side in "AB":
        put(*(tmp_path / side / name for name in ("train/1.png", "bus/2.png")))
    found = find_pairs([tmp_path], val_share=0)
    assert names(found.train) == ["bus/2", "train/1"] and [pair.class_name for pair in found.train] == ["bus", "train"]


def test_two_folders_of_images_are_sources_and_targets(tmp_path):
    put(tmp_path / "photos/1.jpg", tmp_path / "photos/2.jpg", tmp_path / "labels/1.png", tmp_path / "labels/2.png")
    found = find_pairs([tmp_path / "photos", tmp_path / "labels"], val_share=0)
    assert [(pair.source.name, pair.target.name) for pair in found.train] == [("1.jpg", "1.png"), ("2.jpg", "2.png")]
    assert found.folders == [f"{tmp_path / 'photos'} -> {tmp_path / 'labels'}"]
    with pytest.raises(UsageError, match=r"unknown layout; it holds 2 images"):
        find_pairs([tmp_path / "photos", tmp_path / "labels", tmp_path / "photos"], val_share=0)


@pytest.mark.parametrize("place", ["", "train"])
def test_images_side_by_side_are_pairs(tmp_path, place):
    for index in range(3):
        (tmp_path / place).mkdir(exist_ok=True)
        Image.new("RGB", (16, 8)).save(tmp_path / place / f"{index}.png")
    found = find_pairs([tmp_path], val_share=0)
    assert names(found.train) == ["0", "1", "2"] and all(pair.side_by_side for pair in found.train)
    assert all(pair.source == pair.target for pair in found.train) and "side by side" in found.folders[0]


def test_an_unknown_layout_is_refused_with_what_was_found(tmp_path):
    put(tmp_path / "photos/1.png", tmp_path / "labels/1.png", tmp_path / "x.png", tmp_path / ".hidden/y.png")
    with pytest.raises(UsageError, match=r"unknown layout; it holds labels/, photos/, 1 images") as error:
        find_pairs([tmp_path], val_share=0)
    assert "A/ and B/" in error.value.hint
    put(tmp_path / "set/A/1.png", tmp_path / "set/B/1.png")
    with pytest.raises(UsageError, match="unknown layout") as error:
        find_pairs([tmp_path / "set" / "A"], val_share=0)
    assert "pass the folder above" in error.value.hint


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (3, 0), (4, 1), (8, 1)])
def test_of_four_pairs_one_is_held_out(tmp_path, count, held_out):
    for index in range(count):
        put(tmp_path / "A" / f"{index}.png", tmp_path / "B" / f"{index}.png")
    found = find_pairs([tmp_path], val_share=0.001)
    assert (len(found.train), len(found.val)) == (count - held_out, held_out)
    assert ("nothing is held out" in "".join(found.notes)) == (held_out == 0)
    nearly_all = find_pairs([tmp_path], val_share=0.999)
    assert len(nearly_all.train) == max(1, count if count < 4 else 1)
    none = find_pairs([tmp_path], val_share=0)
    assert len(none.train) == count and "--val-share is 0" in none.notes[0]


def test_spellings_of_one_name_are_a_pair(tmp_path):
    for side, form in (("A", "NFC"), ("B", "NFD")):
        put(
            tmp_path / side / f"{unicodedata.normalize(form, 'café')}.png",
            tmp_path / side / os.fsdecode(b"caf\xe9.png"),
        )
    found = find_pairs([tmp_path], val_share=0.5)
    assert len(found.train) == 2 and not found.unpaired


def test_what_is_left_out_is_counted_and_named(tmp_path):
    put(tmp_path / "A/x.png", tmp_path / "A/x.webp", tmp_path / "B/x.png", tmp_path / "A/.hid/y.png")
    (tmp_path / "B/gone.png").symlink_to("nowhere")
    found = find_pairs([tmp_path], val_share=0)
    assert found.train[0].source == tmp_path / "A/x.png"
    assert "1 hidden" in str(found.skipped) and "x.webp" in str(found.skipped)
    assert [problem.path.name for problem in found.broken] == ["gone.png"]


def test_the_run_is_not_part_of_its_data(tmp_path):
    put(tmp_path / "x.png", tmp_path / "run/samples/step_1.png")
    found = find_pairs([tmp_path], val_share=0, targets_only=True, exclude=[tmp_path / "run"])
    assert names(found.train) == ["x"]


def test_held_out_pairs_are_chosen_by_name(tmp_path):
    for index in range(200):
        put(tmp_path / "A" / f"{index}.png", tmp_path / "B" / f"{index}.png")
    all_found, half = find_pairs([tmp_path], val_share=0.3), find_pairs([tmp_path], val_share=0.1)
    assert 35 < len(all_found.val) < 85 and len(all_found.train) + len(all_found.val) == 200
    assert set(names(half.val)) < set(names(all_found.val))


def test_what_cannot_be_trained_on_is_explained(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        find_pairs([tmp_path / "missing"], val_share=0)
    with pytest.raises(UsageError, match="unknown layout"):
        find_pairs([tmp_path], val_share=0)
    (tmp_path / "A").mkdir()
    (tmp_path / "B").mkdir()
    with pytest.raises(UsageError, match="no pairs to train on"):
        find_pairs([tmp_path], val_share=0)


def test_targets_alone_are_images_of_a_folder_or_the_b_of_pairs(tmp_path):
    put(*(tmp_path / "flat" / name for name in ("x.png", "sub/y.png")))
    put(tmp_path / "split/train/x.png", tmp_path / "split/val/y.png", tmp_path / "ab/A/x.png", tmp_path / "ab/B/z.png")
    flat, split, pairs = (
        find_pairs([tmp_path / root], val_share=0, targets_only=True) for root in ("flat", "split", "ab")
    )
    assert names(flat.train) == ["sub/y", "x"] and all(pair.source is None for pair in flat.train)
    assert (names(split.train), names(split.val)) == (["x"], ["y"])
    assert [pair.target for pair in pairs.train] == [tmp_path / "ab/B/z.png"] and not pairs.unpaired


def test_a_folder_without_images_is_explained(tmp_path):
    with pytest.raises(UsageError, match="no images to train on"):
        find_pairs([tmp_path], val_share=0, targets_only=True)
    with pytest.raises(UsageError, match="no such folder"):
        find_pairs([tmp_path / "missing"], val_share=0, targets_only=True)


def hint_of(*roots):
    with pytest.raises(UsageError) as error:
        find_pairs(list(roots), val_share=0)
    return f"{error.value.message} | {error.value.hint}"


def test_an_unknown_layout_is_answered_with_what_to_pass(tmp_path):
    put(*(tmp_path / f"up/data/{side}/1.png" for side in "AB"))
    assert f"pass {tmp_path / 'up/data'}: its layout is known" in hint_of(tmp_path / "up")
    put(*(tmp_path / f"two/{side}/1.png" for side in ("photo", "sketch")))
    assert f"pass both folders, the sources first: {tmp_path / 'two/photo'} {tmp_path / 'two/sketch'}" in hint_of(
        tmp_path / "two"
    )
    put(*(tmp_path / f"list/{side}/{side}.png" for side in "st"))
    (tmp_path / "list/pairs.csv").write_text("source,target\ns/s.png,t/t.png\n")
    assert f"pass {tmp_path / 'list/pairs.csv'}" in hint_of(tmp_path / "list")
    put(tmp_path / "flat/1_A.png", tmp_path / "flat/1_B.png")
    assert "twice as wide as high" in hint_of(tmp_path / "flat")


def test_names_that_differ_are_shown(tmp_path):
    put(tmp_path / "A/1_A.png", tmp_path / "B/1_B.png")
    assert "2 images have no partner of the same name (A/1_A.png, B/1_B.png)" in hint_of(tmp_path)
    put(tmp_path / "s/1_s.png", tmp_path / "t/1_t.png")
    words = hint_of(tmp_path / "s", tmp_path / "t")
    assert "no two images have the same name; 1_s.png and 1_t.png differ" in words and "list (csv)" in words


def test_one_odd_image_among_side_by_side_pairs_is_a_fault_of_its_own(tmp_path):
    for index in range(8):
        Image.new("RGB", [(16, 8), (17, 8), (8, 8)][max(0, index - 5)]).save(tmp_path / f"{index}.png")
    pairs = find_pairs([tmp_path], val_share=0).train
    assert len(pairs) == 8 and all(pair.side_by_side for pair in pairs)
    assert prepared(pairs[6], Preprocess(size=8)).shape == (2, 3, 8, 8)
    for read in (prepared, probed, looks_of):
        with pytest.raises(ImageError, match="8x8 pixels are not two squares side by side"):
            read(pairs[7], Preprocess(size=8))
