"""The prompt of each image: read from files in every form, and clear answers where they do not fit the images."""

import pytest

from ddbm_cli.foundation.errors import ImageError, UsageError
from ddbm_cli.imaging.files import Job
from ddbm_cli.imaging.prompts import Prompts


def jobs(tmp_path, *names):
    return [Job(name, tmp_path / name, tmp_path / "out" / name) for name in names]


def prompts(tmp_path, body, *names, file="prompts.txt"):
    """The prompts of images by a file."""
    (tmp_path / file).write_text(body)
    found = Prompts(file=tmp_path / file)
    every = jobs(tmp_path, *names)
    found.assign(every, beside=False)
    return [found.of(job) for job in every]


@pytest.mark.parametrize(
    ("file", "body"),
    [
        ("prompts.txt", "make it red\nmake it blue\n\n"),
        ("prompts.txt", "sub/b.jpg\tmake it blue\na.png\t make it red \n"),
        ("prompts.txt", "b\tmake it blue\na\tmake it red\n"),
        ("p.jsonl", '{"file_name": "b.jpg", "text": "make it blue"}\n{"image": "a", "edit_prompt": "make it red"}'),
        ("prompts.csv", "name,prompt\na.png,make it red\nsub/b.jpg,make it blue\n"),
    ],
)  # fmt: skip
def test_a_file_in_every_form(tmp_path, file, body):
    assert prompts(tmp_path, body, "a.png", "sub/b.jpg", file=file) == ["make it red", "make it blue"]


def test_draws_of_an_image_have_its_prompt(tmp_path):
    assert prompts(tmp_path, "red\nblue", "a.png", "a.png", "b.png") == ["red", "red", "blue"]


@pytest.mark.parametrize(
    ("file", "body", "words"),
    [
        ("p.txt", "one\ntwo\nthree\n", "p.txt: 3 prompts for 2 images"),
        ("p.txt", "one", "p.txt: 1 prompt for 2 images"),
        ("p.txt", "one\n \ntwo\n", "p.txt, line 2: an empty prompt"),
        ("p.txt", "a.png\tone\nb.png\t\n", "p.txt, line 2: "),
        ("p.txt", "a.png\tone\ntwo\n", "p.txt, line 2: no tab between a name and a prompt"),
        ("p.txt", "a.png\tone\na.png\ttwo\n", "p.txt, line 2: a second prompt for a.png"),
        ("p.txt", "a.png\tone\nc.png\ttwo\n", "b.png: no prompt in "),
        ("p.txt", "\n\n", "no prompts in this file"),
        ("p.jsonl", '{"name": "a.png", "prompt": ""}', "line 1: an empty prompt"),
        ("p.jsonl", '{"prompt": "one"}', "no column of names; its columns: prompt"),
        ("p.jsonl", "{", "line 1: not readable"),
        ("p.csv", "name,prompt\n", "no prompts in this file"),
    ],
)
def test_prompts_that_do_not_fit_are_explained(tmp_path, file, body, words):
    with pytest.raises(UsageError) as caught:
        prompts(tmp_path, body, "a.png", "b.png", file=file)
    assert words in caught.value.message and caught.value.hint


def test_a_missing_file_and_two_ways_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        Prompts(file=tmp_path / "nowhere.txt")
    with pytest.raises(UsageError, match="mutually exclusive"):
        Prompts("red", tmp_path / "nowhere.txt")


def test_text_files_next_to_images(tmp_path):
    every = jobs(tmp_path, "a.png", "b.png")
    for name, text in (("a", " make it red\n"), ("b", "make it blue")):
        (tmp_path / f"{name}.txt").write_text(text)
    found = Prompts()
    found.assign(every, beside=True)
    assert found.each and [found.of(job) for job in every] == ["make it red", "make it blue"]
    unused = Prompts()
    unused.assign(every, beside=False)
    assert not unused.each and unused.of(every[0]) == ""
    given = Prompts("make it green")
    given.assign(every, beside=True)
    assert not given.each and given.of(every[0]) == "make it green"


def test_a_missing_or_empty_text_file_is_named(tmp_path):
    every = jobs(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text("red")
    with pytest.raises(UsageError, match=r"b\.png: no prompt: there is no .*b\.txt"):
        Prompts().assign(every, beside=True)
    (tmp_path / "b.txt").write_text(" \n")
    with pytest.raises(UsageError, match=r"b\.txt: an empty prompt"):
        Prompts().assign(every, beside=True)


def test_an_image_that_arrives_later_needs_its_name(tmp_path):
    (tmp_path / "p.txt").write_text("a.png\tred\n")
    found = Prompts(file=tmp_path / "p.txt")
    assert not found.in_order and found.of(jobs(tmp_path, "a.png")[0]) == "red"
    with pytest.raises(ImageError, match=r"b\.png: no prompt in "):
        found.of(jobs(tmp_path, "b.png")[0])
