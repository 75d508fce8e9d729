"""One walk over folders: what is an input, what is left out, and that it is counted by reason."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import IMAGE_EXTENSIONS
from ddbm_cli.imaging.walk import list_images, stem_key


@pytest.fixture
def root(tmp_path):
    return put(tmp_path / "root", "a.png", "sub/b.jpg")


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(listing):
    return [name.as_posix() for name in listing.names]


def test_images_are_listed_in_the_order_of_their_names(root):
    put(root, "sub/a.png", "sub.png", "B.PNG", "notes.txt")
    listing = list_images(root)
    assert names(listing) == ["B.PNG", "a.png", "sub/a.png", "sub/b.jpg", "sub.png"]
    assert str(listing.skipped) == "1 not an image"
    assert names(list_images(root, recursive=False)) == ["B.PNG", "a.png", "sub.png"]


@pytest.mark.parametrize(
    "hidden", [".ipynb_checkpoints/x.png", ".Trash-1000/x.png", ".x.png", "lost+found/x.png", "__MACOSX/x.png"]
)
def test_hidden_entries_are_skipped_and_counted(root, hidden):
    put(root, hidden)
    listing = list_images(root)
    assert names(listing) == ["a.png", "sub/b.jpg"] and str(listing.skipped) == "1 hidden"


def test_a_hidden_folder_that_is_passed_itself_is_searched(tmp_path):
    assert names(list_images(put(tmp_path / ".cache", "a.png"))) == ["a.png"]


@pytest.mark.parametrize("extension", ["jfif", "jpe", "ppm", "pgm", "pbm", "jp2", "bmp", "gif", "tif", "webp", "avif"])
def test_every_format_that_can_be_read_is_found(root, extension):
    if f".{extension}" not in IMAGE_EXTENSIONS:
        pytest.skip("this Pillow cannot read it")
    put(root, f"x.{extension}", f"X.{extension.upper()}")
    assert len(list_images(root).names) == 4


def test_heic_is_named_where_it_cannot_be_read(root):
    put(root, "x.heic")
    listing = list_images(root)
    if ".heic" in IMAGE_EXTENSIONS:
        assert "x.heic" in names(listing)
    else:
        assert "1 format not readable here" in str(listing.skipped) and "x.heic" in str(listing.skipped)


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_left_out_and_never_opened(root, monkeypatch):
    monkeypatch.chdir(root)  # the path of a socket has a short limit
    os.mkfifo("pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        Path("device.png").symlink_to("/dev/zero")
        listing = list_images(root)
    assert names(listing) == ["a.png", "sub/b.jpg"]
    assert str(listing.skipped).startswith("3 not a regular file (") and not listing.problems


def test_a_folder_named_like_an_image_is_a_folder(root):
    put(root, "x.png/c.png")
    assert names(list_images(root)) == ["a.png", "sub/b.jpg", "x.png/c.png"]


def test_a_link_that_leads_nowhere_is_a_problem(root):
    (root / "y.png").symlink_to("nowhere")
    (root / "loop.png").symlink_to("loop.png")
    (root / "notes").symlink_to("nowhere")
    listing = list_images(root)
    assert names(listing) == ["a.png", "sub/b.jpg"]
    assert sorted(problem.path.name for problem in listing.problems) == ["loop.png", "y.png"]
    assert all("no such file" in problem.message and problem.hint for problem in listing.problems)


def test_linked_files_are_followed(root, tmp_path):
    put(tmp_path, "elsewhere.png")
    (root / "c.png").symlink_to(tmp_path / "elsewhere.png")
    assert "c.png" in names(list_images(root))


def test_linked_folders_are_followed_once(root, tmp_path):
    put(tmp_path / "disk", "c.png", "deep/d.png")
    (root / "one").symlink_to(tmp_path / "disk")
    (root / "two").symlink_to(tmp_path / "disk")
    listing = list_images(root)
    assert names(listing) == ["a.png", "one/c.png", "one/deep/d.png", "sub/b.jpg"] and listing.links == 1
    assert str(listing.skipped) == f"1 folder reached twice ({root / 'two'})"


def test_a_linked_folder_never_hides_the_real_one(root):
    (root / "aaa").symlink_to(root / "sub")
    assert names(list_images(root)) == ["a.png", "sub/b.jpg"]


@pytest.mark.parametrize("target", [".", "..", "sub/.."])
def test_links_to_a_folder_that_contains_them_end(root, target):
    put(root.parent, "outside.png")
    (root / "sub" / "loop").symlink_to(root / target)
    listing = list_images(root)
    assert names(listing) == ["a.png", "sub/b.jpg"] and "1 folder reached twice" in str(listing.skipped)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may open every folder")
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_folder_that_cannot_be_opened_is_a_problem(root, mode):
    (root / "sub").chmod(mode)
    try:
        listing = list_images(root)
    finally:
        (root / "sub").chmod(0o700)
    assert names(listing) == ["a.png"]
    assert [problem.path for problem in listing.closed] == [root / "sub"]


def test_after_an_error_of_the_system_one_folder_is_skipped(root, monkeypatch):
    scan = os.scandir

    def scandir(path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_images(root)
    assert names(listing) == ["a.png"]
    assert listing.closed[0].message == f"{root / 'sub'}: cannot open this folder (Permission denied)"


def test_a_root_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot open"):
        list_images(tmp_path / "missing")


def test_outputs_are_never_inputs(root):
    put(root, "out/a.png", "sheet.png")
    listing = list_images(root, exclude=(root / "sub" / ".." / "out", root / "sheet.png", root / "new"))
    assert names(listing) == ["a.png", "sub/b.jpg"] and str(listing.skipped).startswith("2 own output (")


@pytest.mark.parametrize("file", ["state.safetensors", "model.safetensors", "results.csv", "samples/step_1.png"])
def test_training_runs_are_never_inputs(root, file):
    put(root, "runs/train/config.json", f"runs/train/{file}", "runs/train/samples/step_2.png")
    assert names(list_images(root)) == ["a.png", "sub/b.jpg"]
    assert names(list_images(root / "runs" / "train" / "samples"))[-1] == "step_2.png"


def test_of_files_with_one_stem_the_first_is_used_and_the_others_are_named(root):
    put(root, "a.webp", "a.jpg")
    listing = list_images(root)
    assert listing.stems()["a"] == root / "a.jpg"
    assert str(listing.skipped).startswith("2 same name as another but for the extension (")
    assert "a.png" in str(listing.skipped) and "a.webp" in str(listing.skipped)


def test_unicode_spellings_of_one_name_are_equal():
    forms = {stem_key(unicodedata.normalize(form, "sub/café.png")) for form in ("NFC", "NFD")}
    assert forms == {unicodedata.normalize("NFC", "sub/café")}
    assert stem_key("v1.2/a.b.png") == "v1.2/a.b"


def test_names_that_are_not_utf_8_are_kept(root):
    name = os.fsdecode(b"caf\xe9.png")
    put(root, name)
    listing = list_images(root)
    assert name in names(listing) and listing.stems()[os.fsdecode(b"caf\xe9")] == root / name


def test_only_the_first_names_of_many_are_kept(root):
    for index in range(1000):
        put(root, f"a{index}.jxl")
    text = str(list_images(root).skipped)
    assert text.startswith("1000 format not readable here") and text.endswith(", ...)") and len(text) < 600
