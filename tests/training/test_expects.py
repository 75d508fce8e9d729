"""What a new model expects of its input: measured, given, or that of the model it starts from."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.events import Planned
from ddbm_cli.imaging.preparing import Expects, lines, measure
from ddbm_cli.imaging.preparing.arrays import pixels
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.options.expects import read_expects
from ddbm_cli.tasks.train import request, run
from tests.tiny import SMALLEST, picture, write_tiny

SIDE = 64


def drawing(index=0, width=1, margin=6, side=SIDE):
    """Return a drawing: a circle and a cross, black on white, with lines of a width in pixels."""
    large = Image.new("RGB", (side * 8, side * 8), "white")
    pen, low, high = ImageDraw.Draw(large), margin * 8, (side - margin) * 8
    pen.ellipse((low, low, high, high), outline="black", width=round(width * 8))
    pen.line((low + 80, high // 2, high - 80 - 8 * (index % 5), high // 2), "black", round(width * 8))
    return large.resize((side, side), Image.Resampling.BOX)


@pytest.fixture
def root(tmp_path):
    for side in "AB":
        (tmp_path / "pairs" / side).mkdir(parents=True)
    for index in range(8):
        drawing(index).save(tmp_path / "pairs" / "A" / f"{index}.png")
        picture(index, SIDE).save(tmp_path / "pairs" / "B" / f"{index}.png")
    return tmp_path


def trained(root, **settings):
    recipe = {"steps": 1, "batch_size": 2, "save_every": 1, "validate_every": 1}
    body = {"data": [root / "pairs"], "output": root / "run", "device": "cpu", "recipe": recipe, "tracker": ()}
    own = {} if "start_from" in settings else {"network": SMALLEST, "size": 32}
    events = list(run(request({**body, **own, **settings})))
    card, _ = read_model(root / "run" / "model.safetensors")
    return card.expects, next(event for event in events if isinstance(event, Planned)).facts


@pytest.mark.parametrize("width", [0.5, 1, 1.5])
def test_line_width_and_margin_are_measured(width):
    found = measure([pixels(drawing(index, width, margin=8)) for index in range(4)])
    assert found.kind == "line-art" and found.objects == 1
    assert found.margin == pytest.approx(8 / SIDE, abs=0.02)
    assert abs(lines.of_width(found.line_width) - lines.of_width(width)) < 0.12


def test_what_is_not_line_art_is_a_photograph():
    noise = np.random.default_rng(0).random((4, SIDE, SIDE, 3), dtype=np.float32)
    assert measure(list(noise)) == Expects(kind="photograph") == measure([])
    solid = [pixels(picture(index, SIDE)) for index in range(4)]
    assert measure(solid).kind == "photograph"
    mostly = [pixels(drawing(index)) for index in range(3)]
    assert measure([*mostly, solid[0]]).kind == "photograph"  # three of four are not most


def test_a_model_of_drawings_expects_drawings(root):
    expects, facts = trained(root)
    assert expects is not None and expects.kind == "line-art" and 0.2 < expects.line_width < 1
    assert facts["Expects"].startswith("line art: lines")


def test_a_given_value_wins_and_the_rest_is_measured(root):
    expects, _ = trained(root, expects="line-art:line_width=2,objects=3")
    assert (expects.line_width, expects.objects) == (2, 3) and expects.margin == pytest.approx(0.09, abs=0.03)


def test_photograph_can_be_given(root):
    expects, facts = trained(root, expects="photograph")
    assert expects == Expects(kind="photograph") and "Expects" not in facts


def test_a_run_with_from_keeps_what_its_model_expects(root):
    base = Expects(kind="line-art", line_width=3, margin=0.2, objects=5)
    model = write_tiny(root / "base.safetensors", expects=base)
    expects, _ = trained(root, start_from=str(model))
    assert expects == base
    given = request({"data": [root / "pairs"], "start_from": str(model), "expects": "photograph"})
    assert given.expects == "photograph"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cartoon", "unknown kind 'cartoon'"),
        ("line-art:width=1", "has no field 'width'"),
        ("line-art:margin=2", "margin = '2' does not fit"),
        ("photograph:objects=1", "has no field 'objects'"),
    ],
)
def test_what_cannot_be_expected_is_refused(spec, words):
    with pytest.raises(UsageError) as error:
        read_expects(spec)
    assert words in error.value.message and error.value.message.startswith("--expects") and error.value.hint


def test_the_recipe_of_the_built_in_model_keeps_its_card():
    recipe = tomllib.loads((Path(__file__).parents[1] / "recipes" / "sketch-to-3d-64.toml").read_text())
    given = read_expects(recipe["expects"])
    assert Expects(kind="line-art", **vars(given)) == Expects(kind="line-art")
