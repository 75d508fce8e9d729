"""The attribute of each kind of edit moves with the edit, and with no other image."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddbm_cli.imaging.edit_measures import (
    ATTRIBUTES,
    Asked,
    Truth,
    agreement,
    answer,
    iou,
    progress,
    read_instruction,
    silhouette_of,
    similarity,
)
from ddbm_cli.imaging.edits import EDITS, SKIN, Drawing

SIZE = 64


@pytest.fixture
def drawing():
    """An object that differs from its mirror image, with shades of one colour."""
    picture = Image.new("RGB", (SIZE, SIZE), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((12, 8, 50, 52), fill=(120, 150, 90))
    draw.rectangle((14, 30, 30, 56), fill=(150, 170, 120))
    return Drawing.of(picture, SIZE)


def pair(drawing, kind):
    edited = EDITS[kind].apply(drawing, np.random.default_rng(1))
    whole = silhouette_of(edited.after if kind == "remove-background" else edited.before)
    return Truth(edited.before, edited.after, whole, edited.value)


@pytest.mark.parametrize("kind", list(EDITS))
def test_the_true_answer_is_1_nothing_0_and_half_of_it_between(drawing, kind):
    truth = pair(drawing, kind)
    assert progress(kind, truth.after, truth) == pytest.approx(1)
    assert progress(kind, truth.before, truth) == pytest.approx(0)
    half = progress(kind, (truth.before + truth.after) / 2, truth)
    assert 0.2 < half < 0.8


@pytest.mark.parametrize(("kind", "other"), [("darker", "lighter"), ("recolour", "grey"), ("flip", "upside-down")])
def test_another_edit_does_not_count(drawing, kind, other):
    truth = pair(drawing, kind)
    assert progress(kind, pair(drawing, other).after, truth) < 0.25


def test_the_colour_of_hair_is_not_that_of_skin():
    """The true answer has another skin and other hair: the skin alone is 1, the hair alone 0."""

    def person(skin, hair):
        picture = Image.new("RGB", (SIZE, SIZE), "white")
        draw = ImageDraw.Draw(picture)
        draw.ellipse((8, 4, 56, 60), fill=hair)
        draw.ellipse((20, 24, 44, 56), fill=skin)
        return np.asarray(picture, dtype=np.float64) / 255

    dark, light, brown, black = (110, 70, 50), (250, 205, 175), (100, 70, 50), (30, 30, 32)
    truth = Truth(person(dark, brown), person(light, black), silhouette_of(person(dark, brown)), "light")
    assert progress("skin", person(light, brown), truth) == pytest.approx(1)
    assert progress("skin", person(dark, black), truth) == pytest.approx(0)
    assert progress("skin", person((180, 137, 112), brown), truth) == pytest.approx(0.5, abs=0.02)


def test_an_edit_that_shows_nothing_has_no_progress(drawing):
    truth = pair(drawing, "grey")
    assert np.isnan(progress("grey", truth.before, Truth(truth.after, truth.after, truth.silhouette)))


def test_silhouettes(drawing):
    truth = pair(drawing, "flip")
    same, flipped = silhouette_of(truth.before), silhouette_of(truth.after)
    assert iou(same, drawing.silhouette) > 0.95 and iou(flipped, same[:, ::-1]) == 1.0
    assert iou(np.zeros((4, 4)), np.zeros((4, 4))) == 1.0 and iou(same, 1 - same) == 0.0


@pytest.mark.parametrize("kind", [*EDITS, "skin"])
def test_every_instruction_is_understood(kind):
    values = {"recolour": "red", "erase": "left", "skin": "medium dark"}
    sentences = SKIN if kind == "skin" else EDITS[kind].instructions
    for sentence in sentences:
        asked = read_instruction(sentence.format(value=values.get(kind, "")).upper())
        assert asked == Asked(kind, values.get(kind, ""))
    assert set(ATTRIBUTES) == {*EDITS, "skin"}


@pytest.mark.parametrize("text", ["make it snow", "", "make it", "remove the middle half"])
def test_other_words_are_not_understood(text):
    assert read_instruction(text) is None


@pytest.mark.parametrize("kind", [kind for kind in EDITS if kind != "remove-background"])
def test_an_output_agrees_as_far_as_it_did_what_was_asked(drawing, kind):
    truth = pair(drawing, kind)
    before, after = (Image.fromarray(np.rint(255 * each).astype(np.uint8)) for each in (truth.before, truth.after))
    text = EDITS[kind].instructions[0].format(value=truth.value)
    assert agreement(text, before, before) < 0.05 and similarity(before, before) == 1
    assert agreement(text, before, after) > 0.9
    assert similarity(before, after) < 1


def test_there_is_no_agreement_with_what_is_not_understood(drawing):
    picture = Image.fromarray(np.rint(255 * drawing.colours).astype(np.uint8))
    for text in ("make it snow", "remove the background", "make the skin dark"):
        assert np.isnan(agreement(text, picture, picture))
    assert answer(Asked("erase", "left"), drawing).value == "left"
