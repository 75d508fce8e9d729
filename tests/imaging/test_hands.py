"""Hands: each does to lines what it says, by the strength that is asked, and nothing else."""

import numpy as np
import pytest

from ddbm_cli.imaging.hands import HANDS, strokes_of
from ddbm_cli.imaging.sketch import draw
from tests.imaging.test_sketch import disc, sketch


def drawn(hand, strength=1.0, seed=0, style="ink"):
    unsteady = np.random.default_rng(seed)
    strokes = strokes_of(hand, strength, unsteady)
    pen = np.random.default_rng(0)
    made = draw(disc("navy"), size=64, style=style, rng=pen, hand=strokes, unsteady=unsteady)
    return np.asarray(made).astype(int)


def ink(pixels):
    return float((255 - pixels).sum())


@pytest.mark.parametrize("style", ["ink", "pencil"])
def test_a_plain_hand_and_one_of_strength_0_change_nothing(style):
    plain = sketch(disc("navy"), style)
    assert np.array_equal(drawn("plain", style=style), plain)
    assert all(np.array_equal(drawn(hand, 0.0, style=style), plain) for hand in HANDS)


def test_pens_are_thinner_and_thicker():
    thin, plain, thick = (ink(drawn(hand)) for hand in ("thin", "plain", "thick"))
    assert thin < 0.8 * plain and thick > 1.3 * plain
    assert ink(drawn("thick", 0.5)) < thick


def test_gaps_take_a_part_of_the_lines():
    plain, few, many = ink(drawn("plain")), ink(drawn("broken", 0.5)), ink(drawn("broken", 2.0))
    assert many < few < plain and many > 0.2 * plain


def test_a_wavy_line_is_as_long_and_lies_beside():
    plain, wavy = drawn("plain"), drawn("wavy")
    assert not np.array_equal(plain, wavy) and 0.8 < ink(wavy) / ink(plain) < 1.3
    places = [np.argwhere(each.min(axis=2) < 128) for each in (plain, wavy)]
    apart = np.abs(places[0][:, None] - places[1][None]).max(axis=2)
    assert apart.min(axis=1).max() <= 6  # of 64 pixels


def test_seeds_decide_and_varied_hands_vary():
    assert np.array_equal(drawn("wavy", seed=1), drawn("wavy", seed=1))
    assert not np.array_equal(drawn("wavy", seed=1), drawn("wavy", seed=2))
    kinds = {drawn("varied", seed=seed).tobytes() for seed in range(12)}
    assert len(kinds) > 6
