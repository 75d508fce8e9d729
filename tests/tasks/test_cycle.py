"""`ddbm evaluate --cycle`: there and back, and the distance to the sources."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.models.test_directions import two_networks
from tests.tiny import picture, tiny_card, write_tiny

PINNED = tiny_card().defaults | {"start": {"name": "pinned"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A model without noise, five sources, and a set to be close to."""
    root = tmp_path_factory.mktemp("cycle")
    two_networks(root / "both.safetensors", defaults=PINNED)
    for folder, first in (("a", 0), ("b", 50)):
        (root / folder).mkdir()
        for index in range(5):
            picture(first + index).save(root / folder / f"{first + index}.png")
    return root


def figures(ddbm, *words):
    code, out, err = ddbm("evaluate", *words, "--json")
    assert code == 0, err
    report = json.loads(out.decode().splitlines()[-1])
    return {each["name"]: each["value"] for each in report["figures"]}, report


@pytest.mark.parametrize(("there", "back"), [("AtoB", "BtoA"), ("BtoA", "AtoB")])
def test_the_error_is_that_of_translating_back(ddbm, root, tmp_path, there, back):
    model, whole = root / "both.safetensors", ("-r", "--fit", "pad", "-q")
    for source, output, direction in ((root / "a", "there", there), (tmp_path / "there", "back", back)):
        words = ("translate", source, tmp_path / output, "-m", model, "--direction", direction, *whole)
        assert ddbm(*words)[0] == 0
    words = (tmp_path / "there", root / "b", "--unpaired", "--sketches", root / "a", "--cycle", model)
    found, report = figures(ddbm, *words, "--direction", there)
    wanted, _ = figures(ddbm, tmp_path / "back", root / "a", "--metrics", "mse")
    assert found["cycle-mse"] == pytest.approx(wanted["mse"], rel=1e-5)
    wanted, _ = figures(ddbm, tmp_path / "there", root / "a", "--metrics", "mse")
    assert found["source-mse"] == pytest.approx(wanted["mse"], rel=1e-5)
    assert "swd" in found, "closeness to the other set"
    recipe = next(each["recipe"] for each in report["figures"] if each["name"] == "cycle-mse")
    assert f"tiny-{back}" in recipe and "NFE" in recipe


def test_the_source_is_resized_to_the_output(ddbm, root, tmp_path):
    for folder, size in (("small", 8), ("large", 32)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (size, size), (100, 50, 200)).save(tmp_path / folder / "x.png")
    words = (tmp_path / "small", "--sketches", tmp_path / "large", "--metrics", "source-mse")
    assert figures(ddbm, *words)[0]["source-mse"] == pytest.approx(0, abs=1e-10)


def test_without_a_cycle_the_distance_is_computed_only_when_it_is_named(ddbm, root):
    found, _ = figures(ddbm, root / "a", "--sketches", root / "a")
    assert "source-mse" not in found
    found, _ = figures(ddbm, root / "a", "--sketches", root / "a", "--metrics", "source-mse")
    assert found == {"source-mse": 0.0}


def test_what_a_cycle_needs_is_explained(ddbm, root, tmp_path):
    one = write_tiny(tmp_path / "one.safetensors")
    both = root / "both.safetensors"
    for words, said in (
        ((root / "a", "--cycle", both), "add --sketches"),
        ((root / "a", "--sketches", root / "a", "--cycle", one), "translates in one direction only"),
        ((root / "a", "--sketches", root / "a", "--metrics", "cycle-mse"), "--cycle"),
        ((root / "a", root / "a", "--direction", "BtoA"), "add --cycle"),
    ):
        code, _, err = ddbm("evaluate", *words)
        assert code == 2 and said in err, err


def test_per_image_values(ddbm, root, tmp_path):
    words = (root / "a", "--sketches", root / "a", "--metrics", "cycle-mse", "--cycle", root / "both.safetensors")
    figure, _ = figures(ddbm, *words, "--per-image", tmp_path / "t.csv")
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert rows[0] == "name,cycle-mse" and len(rows) == 6
    assert np.mean([float(row.split(",")[1]) for row in rows[1:]]) == pytest.approx(figure["cycle-mse"], rel=1e-4)
