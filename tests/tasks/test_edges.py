"""Laws of `ddbm data edges`."""

import pytest
from PIL import Image, ImageChops, ImageDraw

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.tasks.edges import EdgesRequest, run
from ddbm_cli.tasks.events import Failed, Finished, Planned, Written

NAMES = ("apple", "pear", "plum")
COLOURS = {"apple": "red", "pear": "green", "plum": "purple"}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in NAMES:
        fruit(folder / f"{name}.png", COLOURS[name])
    return folder


def fruit(path, colour):
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((5, 8, 34, 30), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def edges(pictures, *, output="out", **options):
    """Run the task; return its events, by kind."""
    request = EdgesRequest(pictures=pictures, output=pictures.parent / output, **({"size": 16} | options))
    events = list(run(request))
    assert isinstance(events[0], Planned) and isinstance(events[-1], Finished)
    return {
        kind: [event for event in events if isinstance(event, kind)] for kind in (Planned, Written, Failed, Finished)
    }


@pytest.mark.parametrize("hand", ["thin", "thick", "broken", "wavy", "varied"])
def test_a_hand_changes_sketches_and_not_targets(pictures, hand):
    edges(pictures, output="plain", style="ink", size=32)
    events = edges(pictures, output="other", style="ink", size=32, hand=hand, hand_strength=2.0)
    assert f"{hand} lines" in events[Planned][0].facts["Style"]
    first, second = (files(pictures.parent / output) for output in ("plain", "other"))
    assert first.keys() == second.keys()
    changed = {name for name in first if first[name] != second[name]}
    assert changed and all(name.startswith("A/") for name in changed)


def files(folder):
    """The files below a folder, with their bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_image_makes_a_pair(pictures, tmp_path):
    events = edges(pictures)
    assert set(files(tmp_path / "out")) == {f"{side}/{name}.png" for side in "AB" for name in NAMES}
    assert events[Planned][0].total == 3
    assert [event.source.stem for event in events[Written]] == list(NAMES)
    assert all(event.output.is_file() for event in events[Written])
    assert (events[Finished][0].written, events[Finished][0].kept, events[Finished][0].failed) == (3, 0, 0)
    with Image.open(tmp_path / "out" / "A" / "pear.png") as image:
        assert (image.mode, image.size) == ("RGB", (16, 16))


def test_a_pair_depends_on_its_image_alone(pictures, tmp_path):
    edges(pictures)
    for name in ("apple", "plum"):
        (pictures / f"{name}.png").unlink()
    edges(pictures, output="alone")
    together, alone = files(tmp_path / "out"), files(tmp_path / "alone")
    assert alone == {name: together[name] for name in ("A/pear.png", "B/pear.png")}


@pytest.mark.parametrize(
    "options", [{"size": 24}, {"style": "ink"}, {"style": "pencil"}, {"pencil_share": 0.0}, {"seed": 1}], ids=str
)
def test_each_option_changes_the_sketches(pictures, tmp_path, options):
    edges(pictures, output="one", **({"pencil_share": 1.0} if options == {"style": "ink"} else {}))
    edges(pictures, output="other", **options)
    one, other = files(tmp_path / "one" / "A"), files(tmp_path / "other" / "A")
    assert one.keys() == other.keys() and one != other


def test_mixed_draws_the_share_in_pencil(pictures, tmp_path):
    for index in range(60):
        fruit(pictures / f"{index}.png", "red")
    edges(pictures, size=8, pencil_share=0.25)
    coloured = 0
    for index in range(60):
        with Image.open(tmp_path / "out" / "A" / f"{index}.png") as image:
            red, _, blue = (high for _, high in ImageChops.invert(image).getextrema())
            coloured += blue - red > 30
    assert 7 <= coloured <= 24


def test_a_bad_image_is_skipped_and_reported(pictures, tmp_path):
    (pictures / "orange.jpg").write_bytes(b"no picture")
    events = edges(pictures)
    assert [event.source.name for event in events[Failed]] == ["orange.jpg"]
    assert "orange.jpg" in events[Failed][0].message and events[Failed][0].hint
    assert (events[Finished][0].written, events[Finished][0].failed) == (3, 1)
    assert not (tmp_path / "out" / "A" / "orange.png").exists()


def test_of_images_with_one_stem_the_first_is_used_and_the_others_are_named(pictures):
    with Image.open(pictures / "pear.png") as image:
        image.save(pictures / "pear.webp")
    events = edges(pictures)
    assert [event.source.name for event in events[Written]] == ["apple.png", "pear.png", "plum.png"]
    assert "1 same name as another" in events[Planned][0].facts["Images"]
    assert "pear.webp" in events[Planned][0].facts["Images"]


def test_an_output_folder_among_the_images_is_no_input(pictures):
    for _ in range(2):
        events = edges(pictures, output="pictures/out", recursive=True)
        assert events[Planned][0].total == 3


def test_finished_pairs_are_kept_and_half_pairs_are_not(pictures, tmp_path):
    edges(pictures)
    (tmp_path / "out" / "B" / "pear.png").unlink()
    (tmp_path / "out" / "A" / "plum.png").write_bytes(b"mine")
    events = edges(pictures)
    assert events[Planned][0].kept == events[Finished][0].kept == 2
    assert [event.source.stem for event in events[Written]] == ["pear"]
    assert (tmp_path / "out" / "A" / "plum.png").read_bytes() == b"mine"


def test_overwrite_makes_pairs_again(pictures, tmp_path):
    edges(pictures)
    before = files(tmp_path / "out")
    (tmp_path / "out" / "A" / "plum.png").write_bytes(b"mine")
    events = edges(pictures, overwrite=True)
    assert len(events[Written]) == 3
    assert files(tmp_path / "out") == before


def test_a_dry_run_writes_nothing(pictures, tmp_path):
    events = edges(pictures, dry_run=True)
    assert events[Planned][0].total == 3
    assert not events[Written] and not (tmp_path / "out").exists()


def test_recursive_mirrors_folders(pictures, tmp_path):
    fruit(pictures / "nuts" / "pear.png", "brown")
    assert edges(pictures, output="flat")[Finished][0].written == 3
    assert edges(pictures, recursive=True)[Finished][0].written == 4
    assert (tmp_path / "out" / "A" / "nuts" / "pear.png").is_file()
    assert (tmp_path / "out" / "B" / "nuts" / "pear.png").is_file()


def test_hidden_and_other_files_are_ignored(pictures):
    (pictures / ".pear2.png").write_bytes(b"")
    (pictures / "notes.txt").write_text("x")
    (pictures / "folder.png").mkdir()
    fruit(pictures / ".trash" / "old.png", "red")
    assert edges(pictures, recursive=True)[Planned][0].total == 3


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_split_by_makes_a_folder_for_each_split(pictures, tmp_path, delimiter):
    rows = [("split", "file", "note"), ("train", "apple.png", "a"), ("val", "pear.png", "b")]
    table = tmp_path / "index"
    table.write_text("\ufeff" + "\n".join(delimiter.join(row) for row in rows))
    events = edges(pictures, split_by=table)
    assert set(files(tmp_path / "out")) == {
        "train/A/apple.png",
        "train/B/apple.png",
        "val/A/pear.png",
        "val/B/pear.png",
    }
    assert [event.source.name for event in events[Failed]] == ["plum.png"]
    assert "not in" in events[Failed][0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\tset\napple.png\ttrain", "no column 'split'"),
        ("apple.png\ttrain", "no column 'file'"),
        ("", "no column 'file'"),
        ("file,split\napple.png,../out", "is not a split"),
        ("file,split\napple.png", "is not a split"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(pictures, tmp_path, text, message):
    table = tmp_path / "index.tsv"
    table.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        edges(pictures, split_by=table)
    assert error.value.hint


def test_folders_that_cannot_be_used_are_refused(pictures, tmp_path):
    with pytest.raises(UsageError, match="not readable"):
        edges(pictures, split_by=tmp_path / "none.tsv")
    with pytest.raises(UsageError, match="no such folder"):
        edges(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images") as error:
        edges(tmp_path / "empty")
    assert "-r" in error.value.hint
    with pytest.raises(UsageError, match="taken for images"):
        edges(pictures, output="pictures", recursive=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        edges(pictures, output="file")
