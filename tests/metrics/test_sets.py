"""Laws of the measures that need no network: sliced Wasserstein, diversity of draws, faithful edges."""

import numpy as np
import pytest
import torch

from ddbm_cli.imaging.preprocess import to_pixels
from ddbm_cli.imaging.sketch import draw
from ddbm_cli.metrics import Batch
from ddbm_cli.metrics import sliced as sliced_module
from ddbm_cli.metrics.diversity import PixelDiversity
from ddbm_cli.metrics.edges import EdgeF1
from ddbm_cli.metrics.sliced import SlicedWasserstein
from tests.metrics.test_pixels import CPU, pictures
from tests.tiny import picture


def swd(outputs, targets, step=16, shift=0):
    metric = SlicedWasserstein(CPU)
    for first in range(0, len(outputs), step):
        part = slice(first, first + step)
        index = torch.arange(len(outputs))[part] + shift
        metric.update(Batch(index=index, outputs=outputs[part], targets=targets[part]))
    (figure,) = metric.figures()
    return figure


@pytest.fixture(scope="module")
def smooth():
    return pictures(count=64)[1]


def test_equal_sets_have_no_distance_in_whatever_order(smooth):
    assert swd(smooth, smooth).value == 0
    assert swd(smooth, smooth.flip(0)).value < 0.2


def test_more_noise_is_further_away(smooth):
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(1))
    values = [swd((smooth + level * noise).clamp(0, 255).byte(), smooth).value for level in (5, 20, 60)]
    assert values == sorted(values) and values[0] > 0


def test_colours_are_seen(smooth):
    shifted = smooth.clone()
    shifted[:, 0] = (shifted[:, 0].int() - 60).clamp(0).byte()
    assert swd(shifted, smooth).value > 5 * swd(smooth.flip(0), smooth).value / 2


def test_batches_change_nothing_in_it(smooth):
    noisy = pictures(count=64)[0]
    assert swd(noisy, smooth, step=5).value == pytest.approx(swd(noisy, smooth, step=64).value, rel=1e-5)


def test_it_looks_at_a_bounded_number(smooth, monkeypatch):
    monkeypatch.setattr(sliced_module, "MOST_PICTURES", 20)
    figure = swd(pictures(count=64)[0], smooth)
    assert figure.count == 20 and figure.value > 0


def test_small_images_have_no_patches():
    noisy, smooth = pictures(size=15)
    assert (swd(noisy, smooth).value, swd(noisy, smooth).count) == (None, 0)


def test_diversity_by_hand():
    black, white = (torch.full((1, 3, 4, 4), level, dtype=torch.uint8) for level in (0, 255))
    draws = torch.stack([black, white, white], dim=1)
    value = PixelDiversity(CPU)(Batch(index=torch.arange(1), outputs=black, draws=draws))
    assert value.item() == pytest.approx(2 * 2 / 3)


def sketch_of(image):
    return draw(image, size=64, style="ink", rng=np.random.default_rng(3))


def test_edges_of_the_same_thing_agree_and_of_another_do_not():
    images = [picture(index, 64) for index in (0, 2)]
    outputs = torch.stack([to_pixels(image) for image in images])
    sketches = torch.stack([to_pixels(sketch_of(image)) for image in images])
    right = EdgeF1(CPU)(Batch(index=torch.arange(2), outputs=outputs, sketches=sketches))
    moved = EdgeF1(CPU)(Batch(index=torch.arange(2), outputs=outputs, sketches=sketches.roll(8, dims=-1)))
    blank = EdgeF1(CPU)(Batch(index=torch.arange(2), outputs=torch.full_like(outputs, 255), sketches=sketches))
    assert (right > 0.95).all() and (moved < right).all() and (blank == 0).all()
