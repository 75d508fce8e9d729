"""Batches where some images cannot be read: the run goes on, and is the same function of its step."""

import threading

import pytest
import torch

from ddbm_cli.foundation.errors import DdbmError
from ddbm_cli.foundation.fields import declared
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.training import Batches, batches
from tests.tiny import write_pairs

BROKEN = ("003", "007")


@pytest.fixture
def pairs(tmp_path):
    write_pairs(tmp_path, 12)
    for name in BROKEN:
        file = tmp_path / "B" / f"{name}.png"
        file.write_bytes(file.read_bytes()[:60])
    return find_pairs([tmp_path], val_share=0).train


def made(pairs, **options):
    return Batches(pairs, Preprocess(size=16), size=4, seed=0, **options)


def same(first, second):
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("target", "source", "u", "eps"))


def test_broken_pairs_are_replaced_and_named(pairs):
    some = made(pairs)
    for step in range(6):
        assert some[step].target.shape == (4, 3, 16, 16)
    assert {pairs[index].name for index in some.failures} == set(BROKEN)
    messages = [error.message for error in some.new_failures()]
    assert len(messages) == 2 and all("damaged image" in message for message in messages)
    assert not some.new_failures()


@pytest.mark.parametrize("decode", [False, True])
def test_finding_faults_first_changes_no_batch(pairs, decode):
    drawn, checked = made(pairs), made(pairs)
    checked.check(decode=decode)
    if decode:
        assert [pairs[index].name for index in checked.failures] == list(BROKEN)
    assert all(same(drawn[step], checked[step]) for step in (5, 0, 3, 1, 2, 4))


def test_other_pairs_are_drawn_as_if_nothing_was_broken(pairs, tmp_path):
    whole = made(find_pairs([write_pairs(tmp_path / "whole", 12)], val_share=0).train)
    some = made(pairs)
    changed = sum(
        not torch.equal(some[step].target[place], whole[step].target[place]) for step in range(3) for place in range(4)
    )
    assert changed == 2


def test_a_pair_that_is_asked_for_is_replaced_by_the_next(pairs):
    some = made(pairs)
    assert all(torch.equal(*each) for each in zip(some.pair(3), some.pair(4), strict=True))


def test_more_broken_than_good_pairs_end_the_run(pairs):
    for pair in pairs[:8]:
        pair.target.write_bytes(b"no image")
    some = made(pairs)
    some.check(decode=True)
    with pytest.raises(DdbmError, match=r"8 of 12 pairs cannot be used; the first: .*000\.png"):
        some.require()
    with pytest.raises(DdbmError, match="pairs cannot be used"):
        for step in range(9):
            made(pairs)[step]


def test_a_file_that_disappears_is_a_fault_like_others(pairs):
    some = made(pairs)
    pairs[0].source.unlink()
    for step in range(3):
        some[step]
    assert any("no such file" in error.message for error in some.failures.values())


def test_pairs_of_other_proportions_are_faults(tmp_path):
    write_pairs(tmp_path, 4)
    file = tmp_path / "A" / "002.png"
    from PIL import Image

    Image.new("RGB", (32, 16)).save(file)
    some = made(find_pairs([tmp_path], val_share=0).train)
    some.check(decode=False)
    assert [error.message for error in some.failures.values()] == [
        f"{file} and {tmp_path / 'B' / '002.png'}: 32x16 and 16x16 pixels differ in their proportions"
    ]


@pytest.mark.parametrize("cached", [True, False])
def test_batches_that_are_prepared_ahead_come_in_order(pairs, monkeypatch, cached):
    if not cached:
        monkeypatch.setattr(batches, "CACHE_BYTES", 0)
    some, alone = made(pairs), made(pairs)
    stream = some.from_step(2)
    assert all(same(next(stream), alone[step]) for step in range(2, 9))
    stream.close()


@pytest.mark.timeout(60)
def test_a_set_that_is_not_kept_in_memory_is_decoded_by_several_threads(pairs, monkeypatch):
    monkeypatch.setattr(batches, "CACHE_BYTES", 0)
    monkeypatch.setattr(batches, "THREADS", 3)
    together, names, real = threading.Barrier(3), set(), batches.prepared

    def prepared(pair, preprocess):
        if len(names) < 3:
            names.add(threading.current_thread().name)
            together.wait(timeout=30)  # passes only when three threads are at work
        return real(pair, preprocess)

    monkeypatch.setattr(batches, "prepared", prepared)
    stream = made(pairs).from_step(0)
    next(stream)
    stream.close()
    assert len(names) == 3


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
@pytest.mark.parametrize("degrade", [None, "degrade:inpaint-freeform"])
def test_the_rows_of_a_process_are_those_of_the_whole_batch(tmp_path, size, degrade):
    """Several processes together train on the very batch of one, whatever is drawn for it."""
    pairs = find_pairs([write_pairs(tmp_path, 12)], val_share=0).train
    kinds = declared(TrainRequest)["augment"].choices
    preprocess = Preprocess(size=size, fit="stretch")
    options = {"augment": kinds, "labels": torch.arange(12) % 2, "drop": 0.2, "degrade": degrade}
    whole, part = (Batches(pairs, preprocess, size=6, seed=0, **options) for _ in range(2))
    for step in range(3):
        expected = whole[step]
        for rows in (slice(0, 2), slice(2, 4), slice(4, 6)):
            part.rows = rows
            found = part[step]
            for name in ("target", "source", "u", "eps"):
                assert torch.equal(getattr(found, name), getattr(expected, name)[rows]), name
            assert torch.equal(found.conditions.label, expected.conditions.label[rows])
            assert torch.equal(found.conditions.use_source, expected.conditions.use_source[rows])
    assert not torch.equal(expected.target[:2], expected.target[2:4])


def test_a_process_decodes_its_own_rows_only(tmp_path, monkeypatch):
    pairs = find_pairs([write_pairs(tmp_path, 12)], val_share=0).train
    some = made(pairs, augment=("flip", "shift"))
    some.rows = slice(0, 1)
    sizes = []
    inner = batches.augment
    monkeypatch.setattr(
        batches, "augment", lambda both, *rest, **more: sizes.append(len(both)) or inner(both, *rest, **more)
    )
    assert len(some[0].eps) == 1 and sizes == [1]
