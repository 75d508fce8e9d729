"""Which pictures go in, and which files come out."""

import os
from pathlib import Path

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import plan_jobs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.png", "in/a.jpg", "in/sub/c.webp", "in/.hidden.png", "in/notes.txt", "in/.git/d.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return Path("in")


def pairs(jobs):
    return [(job.name, str(job.output)) for job in jobs.jobs]


def test_a_folder_becomes_a_folder(folder):
    jobs = plan_jobs("in", Path("out"))
    assert (
        pairs(jobs) == [("a.jpg", "out/a.jpg"), ("b.png", "out/b.png")]
        and str(jobs.skipped) == "2 hidden, 1 not an image, 1 sub-folder (in/sub)"
    )
    assert plan_jobs("in", None).folder == Path("in_out")


def test_sub_folders_are_mirrored(folder):
    assert ("sub/c.webp", "out/sub/c.webp") in pairs(plan_jobs("in", Path("out"), recursive=True))


def test_an_output_folder_inside_the_input_is_no_input(folder):
    (folder / "out").mkdir()
    (folder / "out" / "b.png").touch()
    assert len(plan_jobs("in", folder / "out", recursive=True).jobs) == 3


def test_names_that_would_meet_keep_their_extension(folder):
    Path("in/a.png").touch()
    got = pairs(plan_jobs("in", Path("out"), format="png"))
    assert got == [("a.jpg", "out/a.jpg.png"), ("a.png", "out/a.png"), ("b.png", "out/b.png")]


def test_formats_that_cannot_be_written_become_png(folder):
    Path("in/x.gif").touch()
    assert ("x.gif", "out/x.png") in pairs(plan_jobs("in", Path("out")))


def test_a_file_becomes_a_file(folder):
    assert pairs(plan_jobs("in/b.png", Path("x.webp"))) == [("b.png", "x.webp")]
    assert pairs(plan_jobs("in/b.png", Path("new/folder"))) == [("b.png", "new/folder/b.png")]
    assert pairs(plan_jobs("in/b.png", None, suffix="ddbm")) == [("b.png", "in/b_ddbm.png")]
    assert pairs(plan_jobs("in/b.png", None, suffix="ddbm", format="jpg")) == [("b.png", "in/b_ddbm.jpg")]


def test_patterns(folder):
    assert pairs(plan_jobs("in/*.jpg", Path("out"))) == [("a.jpg", "out/a.jpg")]
    assert pairs(plan_jobs("in/**/*.*", Path("out"))) == [
        ("a.jpg", "out/a.jpg"),
        ("b.png", "out/b.png"),
        ("sub/c.webp", "out/sub/c.webp"),
    ]


def test_a_path_with_a_slash_at_the_end_is_a_folder(folder):
    assert pairs(plan_jobs("in/b.png", Path("results.v2"), to_folder=True)) == [("b.png", "results.v2/b.png")]
    assert pairs(plan_jobs("in", Path("out.png"), to_folder=True))[0] == ("a.jpg", "out.png/a.jpg")
    Path("file.v2").touch()
    with pytest.raises(UsageError, match="not a folder"):
        plan_jobs("in/b.png", Path("file.v2"), to_folder=True)


def test_patterns_leave_out_what_is_no_file(folder):
    os.mkfifo("in/pipe.png")
    Path("in/folder.png").mkdir()
    jobs = plan_jobs("in/*", Path("out"))
    assert [name for name, _ in pairs(jobs)] == ["a.jpg", "b.png"]
    assert str(jobs.skipped) == "1 not a regular file (in/pipe.png), 1 not an image"


@pytest.mark.parametrize(
    ("source", "output", "options", "message"),
    [
        ("missing", None, {}, "no such file or folder"),
        ("*.xyz", None, {}, "no file matches"),
        ("in/*.txt", None, {}, "no image matches"),
        ("in", "in", {}, "overwrite an input"),
        ("in/b.png", "in/b.png", {}, "overwrite an input"),
        ("in", "in/b.png", {}, "is a file"),
        ("in", None, {"format": "xyz"}, "unknown format"),
        ("in/b.png", "x.xyz", {}, "cannot write this format"),
        (".", None, {}, "no images in this folder"),
    ],
)
def test_what_cannot_be_done_is_explained(folder, source, output, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        plan_jobs(source, Path(output) if output else None, **options)
    assert caught.value.hint


def test_an_input_behind_a_link_is_not_overwritten(folder):
    Path("link").symlink_to("in", target_is_directory=True)
    with pytest.raises(UsageError, match="overwrite an input"):
        plan_jobs("in", Path("link"))


def test_a_folder_with_brackets_in_its_name_may_stand_before_a_pattern(folder):
    for name in ("set [1]/a.png", "set [1]/deep/b.png", "set 1/c.png", "x[a-b]y/set [2]/d.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert pairs(plan_jobs("set [1]/*.png", Path("out"))) == [("a.png", "out/a.png")]
    assert [name for name, _ in pairs(plan_jobs("set [1]/**/*.png", Path("out")))] == ["a.png", "deep/b.png"]
    assert pairs(plan_jobs("x[a-b]y/set [2]/[a-f].png", Path("out"))) == [("d.png", "out/d.png")]
    assert [name for name, _ in pairs(plan_jobs("set [12345]/*.png", Path("out")))] == ["set 1/c.png"]
    with pytest.raises(UsageError, match="no file matches") as error:
        plan_jobs("set [1]/*.gif", Path("out"))
    assert "[[] a bracket" in error.value.hint
