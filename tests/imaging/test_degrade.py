"""Degradations, each against its definition, written out here a second time."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from ddbm_cli.imaging.degrade import DEGRADATIONS, HOLE, PREFIX, degraded, is_inpainting
from ddbm_cli.imaging.preprocess import to_tensor
from ddbm_cli.options.groups import SourceName

LEVEL = 1 / 127.5


def target(height=64, width=64, seed=0):
    """Smooth random colours in -1..1, of 8 bits."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, 8, 8), generator=random) * 2 - 1
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-0.95, 0.95)[0]
    return ((image + 1) * 127.5).round() / 127.5 - 1


def made(name, image, seed=0):
    return degraded(image, f"degrade:{name}", seed)


def test_every_option_has_its_operator_and_its_documentation():
    from ddbm_cli.imaging import degrade

    assert get_args(SourceName) == tuple(PREFIX + name for name in DEGRADATIONS)
    words = degrade.__doc__
    for name in DEGRADATIONS:
        assert name.removesuffix("-bicubic").rstrip("0123456789") in words


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("size", [(64, 64), (32, 48), (8, 8)])
def test_every_source_has_the_targets_shape_and_range_and_differs(name, size):
    image = target(*size)
    source = made(name, image)
    assert source.shape == image.shape and source.dtype == image.dtype
    assert source.min() >= -1 and source.max() <= 1 and not torch.equal(source, image)
    assert torch.equal(source, made(name, image))


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_sr_is_the_mean_of_blocks_repeated(factor):
    image = target()
    means = torch.nn.functional.avg_pool2d(image[None], factor)
    expected = torch.nn.functional.interpolate(means, scale_factor=factor, mode="nearest")[0]
    assert (made(f"sr{factor}", image) - expected).abs().max() <= 1.01 * LEVEL  # rows and columns are rounded


@pytest.mark.parametrize("factor", [2, 4])
def test_sr_bicubic_is_i2sbs_kernel_away_from_the_border(factor):
    image = target()

    def kernel(x, a=-0.5):
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    taps = np.array([kernel((index - 2 * factor + 0.5) / factor) for index in range(4 * factor)])
    taps /= taps.sum()
    matrix = np.zeros((64 // factor, 64))
    for row in range(64 // factor):
        for index, tap in enumerate(taps):
            column = row * factor + factor // 2 + index - 2 * factor
            if 0 <= column < 64:
                matrix[row, column] += tap
    small = np.einsum("ij,cjk,lk->cil", matrix, image.double().numpy(), matrix)
    expected = torch.from_numpy(small).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    inner = slice(2 * factor, 64 - 2 * factor)
    found = made(f"sr{factor}-bicubic", image)
    assert (found[:, inner, inner] - expected[:, inner, inner]).abs().max() <= 1.1 * LEVEL


LUMINANCE = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""


@pytest.mark.parametrize("quality", [5, 10, 20, 50])
def test_jpeg_quantises_the_cosine_transform_of_blocks(quality):
    grey = target()[:1].expand(3, -1, -1)
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.array(LUMINANCE.split(), dtype=float).reshape(8, 8)
    table = np.floor((scale * table + 50) / 100).clip(1, 255)
    k, n = np.mgrid[:8, :8]
    dct = np.where(k == 0, math.sqrt(1 / 8), 0.5) * np.cos((2 * n + 1) * k * math.pi / 16)
    levels = (grey[0].numpy().astype(float) + 1) * 127.5 - 128
    blocks = levels.reshape(8, 8, 8, 8).transpose(0, 2, 1, 3)
    quantised = np.round(dct @ blocks @ dct.T / table) * table
    expected = (dct.T @ quantised @ dct).transpose(0, 2, 1, 3).reshape(64, 64) + 128
    found = (made(f"jpeg{quality}", grey)[0].numpy() + 1) * 127.5
    difference = np.abs(found - expected.clip(0, 255))
    assert difference.mean() <= 0.6 and np.quantile(difference, 0.95) <= 1.5  # ties are rounded either way


def test_jpeg_halves_the_chroma():
    image = torch.full((3, 16, 16), -0.2)
    image[0, :, ::2] = 0.8
    image[2, :, ::2] = -0.8
    source = made("jpeg50", image)
    chroma = source[0] - source[2]
    assert (chroma[:, ::2] - chroma[:, 1::2]).abs().mean() < 0.3 * (image[0] - image[2])[:, ::2].mean()


@pytest.mark.parametrize("name", ["blur", "blur-gauss"])
def test_blur_is_a_convolution_with_repeated_borders(name):
    image = target()
    taps = torch.full((9,), 1 / 9) if name == "blur" else torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / 10) ** 2)
    taps = (taps / taps.sum()).double()
    kernel = (taps[:, None] * taps).expand(3, 1, -1, -1)
    padded = torch.nn.functional.pad(image[None].double(), (len(taps) // 2,) * 4, mode="replicate")
    expected = torch.nn.functional.conv2d(padded, kernel, groups=3)[0]
    assert (made(name, image) - expected).abs().max() <= 0.51 * LEVEL


def test_the_hole_of_the_middle_is_half_of_each_side_and_grey():
    image = target(64, 32)
    source = made("inpaint-center", image)
    hole = torch.zeros(64, 32, dtype=torch.bool)
    hole[16:48, 8:24] = True
    assert (source[:, hole] == HOLE).all() and torch.equal(source[:, ~hole], image[:, ~hole])


@pytest.mark.parametrize(
    ("name", "low", "high"), [("", 0.2, 0.3), ("1020", 0.1, 0.2), ("2030", 0.2, 0.3), ("3040", 0.3, 0.4)]
)
def test_freeform_holes_cover_their_share_and_differ(name, low, high):
    image = target().clamp(0.1, 0.9)
    masks = [made(f"inpaint-freeform{name}", image, seed)[0] == HOLE for seed in range(8)]
    assert all(low <= float(mask.float().mean()) <= high for mask in masks)
    assert not any(torch.equal(masks[0], mask) for mask in masks[1:])
    assert is_inpainting(f"degrade:inpaint-freeform{name}") and not is_inpainting("degrade:sr4")


def test_grey_is_luma_and_grey_mean_the_mean():
    image = target()
    luma = (image * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0).expand(3, -1, -1)
    assert (made("grey", image) - luma).abs().max() <= 1.1 * LEVEL
    assert (made("grey-mean", image) - image.mean(0)).abs().max() <= 0.51 * LEVEL


def test_edges_are_the_sobel_gradient_on_white():
    from PIL import Image

    step = Image.new("RGB", (16, 16), (100, 100, 100))
    step.paste((180, 180, 180), (8, 0, 16, 16))
    source = (made("edges", to_tensor(step)) + 1) * 127.5
    assert torch.allclose(source[:, :, :7], torch.tensor(255.0)) and torch.allclose(
        source[:, :, 9:], torch.tensor(255.0)
    )
    assert torch.allclose(source[:, :, 7:9], torch.tensor(255.0 - 80), atol=0.01)
