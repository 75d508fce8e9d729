"""Tiles of large images: no seam, the untiled result where one tile is enough, bounded calls."""

from itertools import pairwise

import pytest
import torch

from ddbm_cli.denoisers.tiled import starts, tiled

T = torch.tensor(0.5, dtype=torch.float64)


def states(count=1, height=40, width=56):
    random = torch.Generator().manual_seed(0)
    return [torch.randn(count, 3, height, width, generator=random, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize(
    ("whole", "tile", "overlap"), [(40, 16, 4), (40, 16, 0), (17, 16, 8), (100, 16, 15), (32, 16, 0)]
)
def test_tiles_cover_everything_and_overlap_as_asked(whole, tile, overlap):
    found = starts(whole, tile, overlap)
    assert found[0] == 0 and found[-1] == whole - tile
    assert all(second - first <= tile - overlap for first, second in pairwise(found))


@pytest.mark.parametrize("overlap", [0, 3, 8, 15])
def test_estimates_of_one_position_are_unchanged(overlap):
    """A denoiser of single positions does not see the tiles, so nothing may remain of them."""
    x, source = states()
    plain = lambda x, t, source: 0.3 * x + source * t  # noqa: E731
    found = tiled(plain, (16, 16), overlap)(x, T, source)
    assert (found - plain(x, T, source)).abs().max() < 1e-12


def test_a_constant_estimate_has_no_seam():
    x, source = states()
    found = tiled(lambda x, t, source: torch.full_like(x, 0.7), (16, 24), 4)(x, T, source)
    assert (found - 0.7).abs().max() < 1e-12


def test_one_tile_is_the_untiled_call_to_the_bit():
    x, source = (each.float() for each in states(2, 16, 12))
    seen = []

    def denoise(x, t, source):
        seen.append((x, source))
        return x.cos() + source

    found = tiled(denoise, (16, 16), 4)(x, T, source)
    assert len(seen) == 1 and seen[0][0] is x and torch.equal(found, denoise(x, T, source))


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_the_number_of_tiles_in_a_call_changes_nothing(at_once):
    x, source = states()
    sizes = []

    def denoise(x, t, source):
        sizes.append(len(x))
        return x - x.mean((2, 3), keepdim=True) + source

    found = tiled(denoise, (16, 16), 6, at_once=at_once)(x, T, source)
    assert max(sizes) <= at_once and torch.equal(found, tiled(denoise, (16, 16), 6, at_once=3)(x, T, source))


def test_images_of_a_batch_are_tiled_alike():
    x, source = states(3)

    def denoise(x, t, source):
        return x - x.mean((2, 3), keepdim=True) + source

    found = tiled(denoise, (16, 16), 6)(x, T, source)
    alone = tiled(denoise, (16, 16), 6)(x[1:2], T, source[1:2])
    assert (found[1:2] - alone).abs().max() < 1e-12


def test_tiles_that_disagree_are_blended():
    """Two tiles, black and white: the largest step is far smaller than between stitched tiles."""

    def largest_step(width, overlap):
        levels = iter((-1.0, 1.0))
        x = torch.zeros(1, 3, 16, width, dtype=torch.float64)

        def denoise(x, t, source):
            return torch.stack([torch.full_like(each, next(levels)) for each in x])

        found = tiled(denoise, (16, 16), overlap)(x, T, x)
        return float((found[..., 1:] - found[..., :-1]).abs().max())

    assert largest_step(32, 0) == 2 and largest_step(24, 8) < 0.45


@pytest.mark.parametrize("overlap", [-1, 16, 20])
def test_impossible_overlaps_are_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        tiled(lambda x, t, source: x, (16, 16), overlap)
