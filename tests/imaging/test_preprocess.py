"""The way to the network's square and back."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ddbm_cli.imaging.preprocess import Preprocess, to_picture, to_tensor


def two_coloured(width, height):
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("size", [(64, 64), (64, 32), (20, 64), (200, 100), (1, 1), (3, 500)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_there_is_always_a_square_of_the_right_range(size, fit):
    preprocess = Preprocess(size=64, fit=fit)
    tensor, placement = preprocess.forward(two_coloured(*size))
    assert tensor.shape == (3, 64, 64) and tensor.dtype == torch.float32
    assert tensor.min() >= -1 and tensor.max() <= 1
    back = preprocess.inverse(tensor, placement)
    assert min(back.size) >= 1 and max(back.size) <= 64


def test_padding_is_paper_and_is_cut_away_again():
    tensor, placement = Preprocess(size=64).forward(two_coloured(64, 32))
    assert (tensor[:, :16] == 1).all() and (tensor[:, 48:] == 1).all()
    back = Preprocess(size=64).inverse(tensor, placement)
    assert back.size == (64, 32) and back.tobytes() == two_coloured(64, 32).tobytes()


def test_cropping_fills_the_square_with_the_middle():
    tensor, _ = Preprocess(size=16, fit="crop").forward(two_coloured(64, 16))
    assert (tensor[0, :, :8] > 0.9).all() and (tensor[2, :, 8:] > 0.9).all()


def test_stretching_shows_everything():
    tensor, _ = Preprocess(size=16, fit="stretch").forward(two_coloured(64, 16))
    assert tensor[0, 0, 0] > 0.9 and tensor[2, 0, -1] > 0.9


def test_transparency_becomes_paper():
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert (Preprocess(size=8).forward(image)[0] == 1).all()
    assert (Preprocess(size=8, paper=0).forward(image)[0] == -1).all()


def test_the_original_size_can_be_kept():
    tensor, placement = Preprocess(size=16).forward(two_coloured(100, 50))
    assert Preprocess(size=16).inverse(tensor, placement, keep_size=True).size == (100, 50)


def test_eight_bits_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.float32).view(1, 16, 16).expand(3, 16, 16)
    picture = to_picture(levels / 127.5 - 1)
    assert list(picture.getchannel("R").tobytes()) == list(range(256))
    assert to_picture(torch.full((3, 1, 1), 7.0)).getpixel((0, 0)) == (255, 255, 255)


def test_extreme_shapes_need_no_extreme_memory():
    tensor, placement = Preprocess(size=64).forward(Image.new("RGB", (20000, 10), "red"))
    assert tensor.shape == (3, 64, 64)
    assert Preprocess(size=64).inverse(tensor, placement).size == (64, 1)


@pytest.mark.parametrize("resize", ["lanczos", "nearest", "enlarge-nearest"])
@pytest.mark.parametrize("side", [4, 64])
def test_images_are_resized_with_the_filter_of_the_card(resize, side):
    image = Image.effect_noise((side, side), 80).convert("RGB")
    found, _ = Preprocess(size=16, resize=resize).forward(image)
    near = resize == "nearest" or (resize == "enlarge-nearest" and side < 16)
    wanted = image.resize((16, 16), Image.Resampling.NEAREST if near else Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert torch.equal(found, to_tensor(wanted))
    if near and side < 16:
        assert torch.equal(found, to_tensor(image).repeat_interleave(4, 1).repeat_interleave(4, 2))


def discs(width, height, count=4):
    """Return dark discs on white in a grid, and their middles."""
    image = Image.new("RGB", (width, height), "white")
    radius = min(width, height) / (3 * count)
    steps = [(number + 0.5) / count for number in range(count)]
    places = [(width * across, height * down) for down in steps for across in steps]
    for x, y in places:
        ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), "black")
    return image, places


def middles(image, places, half):
    """Return the centre of mass of the darkness within `half` (across, down) pixels of each place."""
    dark = 255 - np.asarray(image.convert("L"), dtype=float)
    found = []
    for x, y in places:
        left, top = max(0, round(x - half[0])), max(0, round(y - half[1]))
        part = dark[top : round(y + half[1]), left : round(x + half[0])]
        rows, columns = np.indices(part.shape)
        found.append(((columns * part).sum() / part.sum() + left, (rows * part).sum() / part.sum() + top))
    return np.array(found)


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("size", [(301, 173), (97, 97), (163, 211), (640, 480), (129, 65)])
@pytest.mark.parametrize("side", [64, (96, 64)])
def test_the_size_is_kept_without_a_shift_and_without_a_zoom(fit, size, side):
    """Every disc of a grid lies within half a pixel of its place, at the corners too."""
    image, places = discs(*size)
    preprocess = Preprocess(size=side, fit=fit)
    tensor, placement = preprocess.forward(image)
    back, shown = preprocess.inverse(tensor, placement, keep_size=True), preprocess.shown(image)
    assert back.size == shown.size and (fit == "crop" or back.size == size)
    half = size[0] / 8, size[1] / 8
    left, top = (size[0] - shown.width) // 2, (size[1] - shown.height) // 2
    moved = [(x - left, y - top) for x, y in places]
    whole = [
        (x, y)
        for x, y in moved
        if abs(x - shown.width / 2) <= shown.width / 2 - half[0] + 0.6
        and abs(y - shown.height / 2) <= shown.height / 2 - half[1] + 0.6
    ]
    assert len(whole) >= 4
    assert np.abs(middles(back, whole, half) - middles(shown, whole, half)).max() < 0.5
