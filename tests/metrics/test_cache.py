"""Features of targets are computed once, and found again by content alone."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import torch

from ddbm_cli.metrics.cache import FeatureCache
from tests.metrics.test_pixels import pictures


class Network:
    """Features of its own kind, and a count of the pictures that it was asked for."""

    def __init__(self):
        self.seen = 0

    def __call__(self, pictures):
        self.seen += len(pictures)
        wide = pictures.float().flatten(1)
        return torch.stack([wide.mean(1) / 3, wide.std(1)], dim=1)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def some():
    return pictures(count=6, size=16)[0]


def test_what_was_seen_is_not_computed_again(network, some, tmp_path):
    plain = network(some)
    network.seen = 0
    for order in (torch.arange(6), torch.tensor([3, 1, 5]), torch.tensor([0, 0])):
        features = FeatureCache(network, tmp_path / "new" / "f.sqlite")(some[order])
        assert torch.equal(features, plain[order]) and network.seen == 6


def test_another_image_and_another_size_are_others(network, some, tmp_path):
    cached = FeatureCache(network, tmp_path / "f.sqlite")
    cached(some)
    changed = some.clone()
    changed[0, 0, 0, 0] ^= 1
    assert torch.equal(cached(changed), Network()(changed)) and network.seen == 7
    assert torch.equal(cached(some.reshape(6, 3, 8, 32)), Network()(some.reshape(6, 3, 8, 32))) and network.seen == 13


def test_another_file_is_another_network(network, some, tmp_path):
    for name in ("a", "b"):
        FeatureCache(network, tmp_path / name)(some)
    assert network.seen == 12


def test_more_images_than_one_question(network, monkeypatch, some, tmp_path):
    monkeypatch.setattr("ddbm_cli.metrics.cache.MANY", 2)
    cached = FeatureCache(network, tmp_path / "f.sqlite")
    assert torch.equal(cached(some), cached(some)) and network.seen == 6


@pytest.mark.parametrize("fault", ["damaged", "a folder", "no folder to be made"])
def test_without_a_usable_file_everything_is_computed(network, some, tmp_path, fault):
    file = tmp_path / "f.sqlite"
    if fault == "damaged":
        file.write_bytes(b"no database, but long enough to be looked at as one" * 40)
    elif fault == "a folder":
        file.mkdir()
    else:
        (tmp_path / "file").write_text("in the way")
        file = tmp_path / "file" / "f.sqlite"
    cached = FeatureCache(network, file)
    for _ in range(2):
        assert torch.equal(cached(some), Network()(some))
    assert network.seen == 12


@pytest.mark.parametrize(
    "features", ["text", 7, None, b"", b"odd", b"\0" * 40, b"\0" * 2**20, np.full(3, np.nan, np.float32).tobytes()]
)
def test_damaged_rows_are_computed_again(tmp_path, features):
    file = tmp_path / "features.sqlite"
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    cache = FeatureCache(lambda batch: batch.float().mean((2, 3)), file, width=3)
    wanted = cache(images)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE other (digest BLOB PRIMARY KEY, features)")
        database.execute("INSERT INTO other SELECT digest, ? FROM seen", [features])
        database.execute("DROP TABLE seen")
        database.execute("ALTER TABLE other RENAME TO seen")
    assert torch.equal(cache(images), wanted)
    assert torch.equal(cache(torch.cat([images, images + 1]))[:2], wanted)
