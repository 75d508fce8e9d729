"""Augmentations: alike on both images of a pair, named, and a function of seed, step and place alone."""

import math

import pytest
import torch

from ddbm_cli.foundation.fields import declared
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.training import Batches
from ddbm_cli.training.augment import augment
from ddbm_cli.training.batches import generator
from tests.tiny import write_pairs

KINDS = declared(TrainRequest)["augment"].choices


def applied(both, kinds, seed=0, paper=1.0):
    return augment(both, generator(seed, "a"), generator(seed, "b"), kinds, paper=paper)


def images(count=4, height=32, width=32):
    return torch.rand((count, 1, 3, height, width), generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_each_changes_images_alike_on_both_sides(kind, size):
    one = images(4, *size)
    both = applied(torch.cat([one, one], dim=1), (kind,))
    assert torch.equal(both[:, 0], both[:, 1]) and not torch.equal(both[:, :1], one)
    assert both.shape == (4, 2, 3, *size) and both.abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_batch_are_changed_differently_and_repeatably(kind):
    one = images(1).expand(8, -1, -1, -1, -1)
    made = applied(one, (kind,))
    assert len({each.numpy().tobytes() for each in made}) > 1
    assert torch.equal(made, applied(one, (kind,))) and not torch.equal(made, applied(one, (kind,), seed=1))


def test_paper_stays_paper():
    paper = torch.ones(4, 2, 3, 32, 32)
    assert torch.allclose(applied(paper, ("flip", "shift", "crop", "scale", "rotate", "hue")), paper, atol=1e-6)


def test_one_augmentation_does_not_change_the_draws_of_another(tmp_path):
    pairs = find_pairs([write_pairs(tmp_path, 12)], val_share=0).train

    def made(*kinds):
        return Batches(pairs, Preprocess(size=16), size=4, seed=0, augment=kinds)[3]

    assert torch.equal(made().u, made("colour", "rotate").u) and torch.equal(made().eps, made("crop").eps)
    flipped, more = made("flip").target, made("flip", "colour").target
    assert all(((a - a.mean()) * (b - b.mean())).mean() > 0 for a, b in zip(flipped, more, strict=True))


def test_rotation_keeps_angles_of_rectangles():
    """A disc stays a disc: its extent across and down remain equal."""
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(128) - 63.5, indexing="ij")
    disc = torch.where(x**2 + y**2 < 20**2, -1.0, 1.0).expand(8, 1, 3, 64, 128)
    for image in applied(disc, ("rotate",)):
        inside = image[0, 0] < 0
        assert abs(int(inside.any(0).sum()) - 40) <= 1 and abs(int(inside.any(1).sum()) - 40) <= 1


def test_rotation_is_bounded_by_ten_degrees():
    line = torch.ones(64, 1, 3, 64, 64)
    line[..., 31:33, :] = -1
    turned = applied(line, ("rotate",))
    ends = [(column < 0.5).nonzero().float().mean() for column in (turned[:, 0, 0, :, 60].unbind(0))]
    angles = [math.degrees(math.atan((float(end) - 31.5) / 28.5)) for end in ends]
    assert 5 < max(map(abs, angles)) < 11


def test_the_hue_is_turned_where_the_source_shows_it_and_greys_stay():
    grey, colour = torch.full((64, 1, 3, 4, 4), 0.3), torch.zeros(64, 1, 3, 4, 4)
    colour[:, :, 0] = 0.5
    kept = applied(torch.cat([grey, colour], 1), ("hue",))
    assert torch.allclose(kept, torch.cat([grey, colour], 1), atol=1e-6), "a grey source does not show the hue"
    first, second = applied(torch.cat([colour, grey], 1), ("hue",)).unbind(1)
    assert torch.allclose(second, grey[:, 0], atol=1e-6)
    assert torch.allclose(first.mean(1), colour[:, 0].mean(1), atol=1e-6)
    assert torch.allclose(first.square().sum(1), colour[:, 0].square().sum(1), atol=1e-6), "a rotation"
    brightest = first.argmax(1)[:, 0, 0]
    assert {0, 1, 2} == set(brightest.tolist()) and 20 < int((first[:, 0, 0, 0] < 0.4999).sum()) < 44


def test_the_names_are_those_that_are_documented():
    from ddbm_cli.training import augment as module

    assert KINDS == ("flip", "shift", "crop", "scale", "rotate", "colour", "hue")
    assert all(f"    {kind} " in module.__doc__ for kind in KINDS)
