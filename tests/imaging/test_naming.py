"""Names of outputs: templates, sub-folders left out, and no two outputs of one name."""

from pathlib import Path

import pytest

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.files import plan_jobs
from ddbm_cli.imaging.naming import Naming, name_outputs
from ddbm_cli.imaging.selection import Selection
from tests.tiny import picture


def names(paths, **how):
    return [each.output.as_posix() for each in name_outputs([Path(path) for path in paths], Naming(**how), None)]


def test_without_sub_folders_equal_names_are_kept_apart():
    found = names(["a.png", "one/a.png", "two/A.png", "two/b.jpg", "two/b.png"], flatten=True)
    assert found == ["a.png", "one-a.png", "two-A.png", "b.jpg", "b.png"]


def test_names_that_differ_in_case_or_unicode_form_only_are_kept_apart():
    found = names(["caf\u00e9.png", "cafe\u0301.png", "Fox.png", "fox.png", "fox.bmp"])
    assert len({name.casefold() for name in found}) == 5
    assert found[0] == "caf\u00e9.png" and found[1] != "cafe\u0301.png"


def test_templates_hold_fields_and_the_folders_stay():
    values = {"seed": 7, "model": "tiny", "nfe": 5, "sampler": "dbim"}
    assert names(["sub/fox.jpg"], template="{stem}_{seed:03d}{ext}", values=values) == ["sub/fox_007.jpg"]
    assert names(["sub/fox.jpg"], template="{parent}-{stem}-{model}-{nfe}-{sampler}", values=values) == [
        "sub/sub-fox-tiny-5-dbim.jpg"
    ]
    assert names(["fox.png"], template="{stem}.webp") == ["fox.webp"]


def test_draws_have_numbers():
    assert names(["fox.png"], draws=range(3)) == ["fox_000.png", "fox_001.png", "fox_002.png"]
    assert names(["fox.png"], draws=range(2), template="{draw}{stem}{ext}") == ["0fox.png", "1fox.png"]
    assert len(set(names(["a.png", "a.jpg", "a_000.png"], draws=range(2)))) == 6


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stem.__class__}{ext}", "unknown field"),
        ("{stem}_{colour}{ext}", "unknown field"),
        ("{stem", "expected '}'"),
        ("{}", "unknown field"),
        ("../{stem}{ext}", "not a file name"),
        ("a\\{stem}{ext}", "not a file name"),
        ("{stem}\x1b{ext}", "not a file name"),
        (".{stem}{ext}", "not a file name"),
        ("{stem:>999}{ext}", "not a file name"),
        ("{stem}{seed:x>99999999999999999999}", "--name"),
        ("{seed}{ext}", "lacks {stem}"),
        ("{stem:d}{ext}", "--name"),
    ],
)
def test_templates_that_are_no_file_name_are_refused(template, message):
    with pytest.raises(UsageError, match=message.replace("{", r"\{").replace("}", r"\}")) as caught:
        Naming(template).check()
    assert caught.value.hint


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.jpg", "drafts/c.png", "2024/d.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(tmp_path / "in" / name)
    return tmp_path


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"include": ["*.png"]}, ["2024/d.png", "a.png", "drafts/c.png"]),
        ({"exclude": ["drafts"]}, ["2024/d.png", "a.png", "b.jpg"]),
        ({"exclude": ["drafts/", "2024/*"]}, ["a.png", "b.jpg"]),
        ({"include": ["[ab].*"], "exclude": ["b*"]}, ["a.png"]),
        ({"limit": 2}, ["2024/d.png", "a.png"]),
    ],
    ids=str,
)
def test_patterns_and_a_limit_select_inputs(folder, selection, expected):
    jobs = plan_jobs(str(folder / "in"), folder / "out", recursive=True, selection=Selection(**selection))
    assert [job.name for job in jobs.jobs] == expected
    assert sum(jobs.skipped.counts.values()) == 4 - len(expected) and str(jobs.skipped)


def test_a_selection_changes_no_name(folder):
    picture(2).save(folder / "in" / "b.bmp")
    whole = {job.name: job.output for job in plan_jobs(str(folder / "in"), folder / "out", format="png").jobs}
    part = plan_jobs(str(folder / "in"), folder / "out", format="png", selection=Selection(include=["b.jpg"])).jobs
    assert [job.output for job in part] == [whole["b.jpg"]]


def test_a_selection_without_images_is_an_error(folder):
    with pytest.raises(UsageError, match=r"no image is left; left out: .*include"):
        plan_jobs(str(folder / "in"), folder / "out", selection=Selection(include=["*.gif"]))
