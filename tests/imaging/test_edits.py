"""Each edit changes what its instruction says, and nothing else."""

import colorsys
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddbm_cli.imaging.edits import COLOURS, EDITS, LEAST_CHANGE, LUMA, Drawing, recoloured
from ddbm_cli.options.data import EditName


def apple(size=32, colour=(200, 60, 40)):
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((5, 8, 22, 27), fill=colour)
    draw.rectangle((8, 10, 13, 13), fill=tuple(each // 2 for each in colour))
    return picture


def edited(name, seed=0, picture=None):
    drawing = Drawing.of(picture or apple(), 32)
    return drawing, EDITS[name].apply(drawing, np.random.default_rng(seed))


def test_the_options_name_every_edit():
    assert tuple(EDITS) == get_args(EditName)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_enough_and_its_sentences_name_its_value(name):
    drawing, found = edited(name)
    assert found.change(drawing) > LEAST_CHANGE
    assert found.before.shape == found.after.shape == (32, 32, 3) and 0 <= found.after.min() <= found.after.max() <= 1
    assert all(("{value}" in sentence) == bool(found.value) for sentence in EDITS[name].instructions)


@pytest.mark.parametrize("name", ["recolour", "darker", "lighter", "stripes"])
def test_these_leave_the_paper_alone(name):
    drawing, found = edited(name)
    outside = drawing.silhouette == 0
    assert np.array_equal(found.before, drawing.colours) and np.array_equal(found.after[outside], found.before[outside])


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("start", [(200, 60, 40), (240, 240, 235), (40, 40, 60)])
def test_a_recoloured_object_has_the_hue_that_is_named(name, start):
    drawing = Drawing.of(apple(colour=start), 32)
    found = recoloured(drawing, name)[drawing.silhouette == 1].mean(axis=0)
    hue, wanted = (colorsys.rgb_to_hsv(*colour)[0] for colour in (found, np.array(COLOURS[name]) / 255))
    assert min(abs(hue - wanted), 1 - abs(hue - wanted)) < 0.03
    shading = (recoloured(drawing, name) @ LUMA)[11, 10] < (recoloured(drawing, name) @ LUMA)[20, 10]
    assert shading  # what was darker still is


def test_lightness_symmetry_and_colour():
    def light(name):
        drawing, found = edited(name)
        return found.after[drawing.silhouette > 0.5].mean() - found.before[drawing.silhouette > 0.5].mean()

    assert light("darker") < -0.05 < 0.05 < light("lighter")
    assert np.array_equal(edited("flip")[1].after, edited("flip")[1].before[:, ::-1])
    assert np.array_equal(edited("upside-down")[1].after, edited("upside-down")[1].before[::-1])
    assert np.ptp(edited("grey")[1].after, axis=2).max() < 1e-9


def test_an_outline_surrounds_the_object():
    drawing, found = edited("outline")
    inside = drawing.silhouette == 1
    assert np.array_equal(found.after[inside], found.before[inside])
    changed = np.abs(found.after - found.before).max(axis=2) > 0.5
    assert changed.any() and not changed[0].any() and not (changed & inside).any()


def test_a_background_is_removed():
    drawing, found = edited("remove-background")
    assert np.array_equal(found.after, drawing.colours) and found.before[0].max() < 0.95
    inside = drawing.silhouette == 1
    assert np.allclose(found.before[inside], drawing.colours[inside])


@pytest.mark.parametrize("seed", range(8))
def test_the_half_that_is_named_is_erased(seed):
    _, found = edited("erase", seed)
    rows, columns = np.nonzero(np.abs(found.after - found.before).max(axis=2) > 0.01)
    lost = {"left": columns.max() < 15, "right": columns.min() > 12, "top": rows.max() < 19, "bottom": rows.min() > 16}
    assert lost[found.value] and sum(map(bool, lost.values())) == 1


def test_without_transparency_the_object_is_what_is_not_white():
    flat = Image.new("RGB", (32, 32), "white")
    flat.paste(apple().convert("RGB"), mask=apple())
    assert np.array_equal(Drawing.of(flat, 32).silhouette, Drawing.of(apple(), 32).silhouette)


def test_an_empty_image_is_not_edited():
    empty = Image.new("RGB", (16, 16), "white")
    for name in set(EDITS) - {"remove-background"}:
        drawing, found = edited(name, picture=empty)
        assert found.change(drawing) < LEAST_CHANGE
