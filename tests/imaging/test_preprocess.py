"""The way to the network's square and back."""

import pytest
import torch
from PIL import Image

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
