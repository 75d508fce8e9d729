"""The filters of a model's images contain all of them, and hardly any other."""

import pytest

from ddbm_cli.models import seen
from ddbm_cli.models.seen import HELD_OUT, TRAINING, UNKNOWN, remember, split_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for index in range(1200):
        (folder / f"{index}.png").write_bytes(b"picture %d" % index)
    return [folder / f"{index}.png" for index in range(1200)]


def test_its_own_are_never_denied_and_others_hardly_ever_claimed(files):
    filters = remember(files[:200], files[200:230])
    assert all(split_of(filters, file) == TRAINING for file in files[:200])
    assert all(split_of(filters, file) == HELD_OUT for file in files[200:230])
    assert sum(split_of(filters, file) != UNKNOWN for file in files[230:]) <= 3


def test_a_file_is_known_by_its_content(files, tmp_path):
    filters = remember(files[:5], [])
    (tmp_path / "other name.jpg").write_bytes(files[3].read_bytes())
    assert split_of(filters, tmp_path / "other name.jpg") == TRAINING
    (tmp_path / "other name.jpg").write_bytes(b"changed")
    assert split_of(filters, tmp_path / "other name.jpg") == UNKNOWN


def test_filters_are_compact_and_do_not_depend_on_order(files):
    filters = remember(files[:1000], [])
    assert len(filters[TRAINING]) == pytest.approx(1000 * seen.BITS / 6, rel=0.01)
    assert remember(files[999::-1], []) == filters


def test_too_many_are_not_remembered(files, monkeypatch):
    monkeypatch.setattr(seen, "MOST", 10)
    assert remember(files[:9], files[9:11]) == {} and remember(files[:9], files[9:10])


def test_files_are_of_an_unknown_split_without_filters(files):
    assert split_of({}, files[0]) == UNKNOWN


@pytest.mark.parametrize("damaged", ["", "?", "a", ",", "AAAA,???", "=" * 9])
def test_a_damaged_filter_contains_nothing(tmp_path, damaged):
    (tmp_path / "x").write_text("x")
    assert split_of({TRAINING: damaged}, tmp_path / "x") == UNKNOWN
