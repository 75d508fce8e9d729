"""Finding pairs: layouts, names, what is held out."""

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.pairs import find_pairs


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


@pytest.mark.parametrize("layout", ["train/A train/B val/A val/B", "trainA trainB testA testB"])
def test_layouts_that_name_their_split(tmp_path, layout):
    for index, folder in enumerate(layout.split()):
        put(tmp_path / folder / f"{'t' if index < 2 else 'v'}.png")
    found = find_pairs([tmp_path], val_share=0.5)
    assert names(found.train) == ["t"] and names(found.val) == ["v"]


def test_held_out_pairs_are_chosen_by_name(tmp_path):
    for index in range(200):
        put(tmp_path / "A" / f"{index}.png", tmp_path / "B" / f"{index}.png")
    all_found, half = find_pairs([tmp_path], val_share=0.3), find_pairs([tmp_path], val_share=0.1)
    assert 35 < len(all_found.val) < 85 and len(all_found.train) + len(all_found.val) == 200
    assert set(names(half.val)) < set(names(all_found.val))


def test_what_cannot_be_trained_on_is_explained(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        find_pairs([tmp_path / "missing"], val_share=0)
    with pytest.raises(UsageError, match="neither A/ and B/"):
        find_pairs([tmp_path], val_share=0)
    (tmp_path / "A").mkdir()
    (tmp_path / "B").mkdir()
    with pytest.raises(UsageError, match="no pairs to train on"):
        find_pairs([tmp_path], val_share=0)


def test_targets_alone_are_pictures_of_a_folder_or_the_b_of_pairs(tmp_path):
    put(*(tmp_path / "flat" / name for name in ("x.png", "sub/y.png")))
    put(tmp_path / "split/train/x.png", tmp_path / "split/val/y.png", tmp_path / "ab/A/x.png", tmp_path / "ab/B/z.png")
    flat, split, pairs = (
        find_pairs([tmp_path / root], val_share=0, targets_only=True) for root in ("flat", "split", "ab")
    )
    assert names(flat.train) == ["sub/y", "x"] and all(pair.source is None for pair in flat.train)
    assert (names(split.train), names(split.val)) == (["x"], ["y"])
    assert [pair.target for pair in pairs.train] == [tmp_path / "ab/B/z.png"] and not pairs.unpaired


def test_a_folder_without_pictures_is_explained(tmp_path):
    with pytest.raises(UsageError, match="no pictures to train on"):
        find_pairs([tmp_path], val_share=0, targets_only=True)
    with pytest.raises(UsageError, match="no such folder"):
        find_pairs([tmp_path / "missing"], val_share=0, targets_only=True)
