"""Decoded pairs in memory and on the disk: within limits, the same pixels, and nothing is left behind."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.training import Batches, batches, cache
from ddbm_cli.training.cache import DecodedCache
from tests.tiny import write_pairs

SHAPE = (2, 3, 4, 4)
SLOT = 96


def pixels(index):
    return torch.full(SHAPE, index, dtype=torch.uint8)


def made(folder, *, memory=0, disk=0, count=10):
    return DecodedCache([SHAPE] * count, memory=memory * SLOT, disk=disk * SLOT, folder=folder / "cache")


def epochs(kept, count=10, times=3):
    """Return how many pairs were decoded in each epoch."""
    decoded = []

    def decode(index):
        decoded.append(index)
        return pixels(index)

    numbers = []
    for _ in range(times):
        for index in range(count):
            assert torch.equal(kept.get(index, decode), pixels(index))
        numbers.append(len(decoded))
        decoded.clear()
    return numbers


@pytest.mark.parametrize(
    ("memory", "disk", "later", "words"),
    [
        (10, 0, 0, "in memory"),
        (0, 10, 0, "in a file in"),
        (4, 6, 0, "in memory, "),
        (4, 3, 3, "3 pairs are decoded in every epoch"),
        (0, 0, 10, "10 pairs are decoded in every epoch"),
    ],
)
def test_what_fits_is_decoded_once(tmp_path, memory, disk, later, words):
    kept = made(tmp_path, memory=memory, disk=disk)
    assert epochs(kept) == [10, later, later] and words in kept.words
    assert kept.is_whole == (memory == 10)
    files = list((tmp_path / "cache").iterdir()) if (tmp_path / "cache").exists() else []
    assert not files if os.name == "posix" else len(files) <= 1


def test_the_file_does_not_grow_beyond_its_limit(tmp_path):
    kept = made(tmp_path, disk=3)
    epochs(kept)
    assert os.fstat(kept._file.fileno()).st_size == 3 * SLOT


def test_a_full_disk_makes_it_slower_only(tmp_path, monkeypatch):
    kept = made(tmp_path, disk=10)
    write = DecodedCache._write

    def fails(self, offset, body):
        if offset >= 4 * SLOT:
            raise OSError(28, "No space left on device")
        write(self, offset, body)

    monkeypatch.setattr(DecodedCache, "_write", fails)
    assert epochs(kept) == [10, 6, 6]


def test_a_folder_that_cannot_be_written_makes_it_slower_only(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert epochs(made(tmp_path, disk=10)) == [10, 10, 10]


def test_a_disk_with_little_room_is_left_alone(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": cache.LEFT_FREE + 2 * SLOT})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage)
    assert epochs(made(tmp_path, disk=10)) == [10, 8, 8]


def test_threads_share_it(tmp_path):
    kept = made(tmp_path, memory=3, disk=4, count=10)
    wrong = []

    def read():
        for turn in range(200):
            index = (turn * 7) % 10
            if not torch.equal(kept.get(index, pixels), pixels(index)):
                wrong.append(index)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def test_nothing_is_left_after_a_kill(tmp_path):
    script = (
        "import os, signal, torch\nfrom pathlib import Path\nfrom ddbm_cli.training.cache import DecodedCache\n"
        f"kept = DecodedCache([(1, 3, 4, 4)] * 4, disk=10**6, folder=Path({str(tmp_path / 'cache')!r}))\n"
        "kept.get(0, lambda index: torch.zeros((1, 3, 4, 4), dtype=torch.uint8))\n"
        "assert kept._file is not None\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("limits", [{"memory": 0}, {"memory": 0, "disk": 2**30}, {"memory": 6000, "disk": 2**30}])
def test_batches_are_the_same_wherever_pairs_are_kept(tmp_path, monkeypatch, limits):
    monkeypatch.setenv("DDBM_HOME", str(tmp_path / "home"))
    pairs = find_pairs([write_pairs(tmp_path / "pairs", 12)], val_share=0).train
    usual, other = (
        Batches(pairs, Preprocess(size=16), size=5, seed=0, augment=("flip", "rotate"), **more) for more in ({}, limits)
    )
    for step in range(6):
        assert torch.equal(usual[step].target, other[step].target) and torch.equal(
            usual[step].source, other[step].source
        )


def test_the_second_epoch_decodes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DDBM_HOME", str(tmp_path / "home"))
    pairs = find_pairs([write_pairs(tmp_path / "pairs", 12)], val_share=0).train
    some = Batches(pairs, Preprocess(size=16), size=4, seed=0, memory=0, disk=2**30)
    for step in range(3):
        some[step]
    monkeypatch.setattr(batches, "prepared", lambda *given: pytest.fail("decoded again"))
    for step in range(3, 9):
        some[step]


def test_what_is_kept_in_memory_takes_its_own_bytes_only(tmp_path):
    """Small tensors among the large ones of a batch would take several times their bytes of the process's memory."""
    kept = made(tmp_path, memory=10)
    epochs(kept, times=1)
    block = kept._block
    assert block.nbytes == 10 * SLOT
    assert all(np.shares_memory(block, kept.get(index, pixels).numpy()) for index in range(10))
