"""Guides and masks of an editor."""

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import DdbmError, ImageError, UsageError
from ddbm_cli.imaging.guides import Edit
from ddbm_cli.imaging.preprocess import Preprocess

SQUARE = Preprocess(size=16)


def lines(size=(16, 16)):
    picture = Image.new("RGB", size, "white")
    picture.paste("black", (size[0] // 2, 0, size[0] // 2 + 1, size[1]))
    return picture


def guided(spec, picture=None, name="a.png"):
    tensor, placement = SQUARE.forward(picture or lines())
    return Edit(spec).guide(tensor, name, SQUARE, placement), tensor


def test_without_a_guide_it_is_the_image():
    guide, tensor = guided(None)
    assert guide is tensor


def test_blur_spreads_a_line_by_its_sigma():
    guide, tensor = guided("blur:sigma=1.5")
    assert guide.shape == tensor.shape and guide.dtype == torch.float32
    dark = 1 - guide[0, 8]
    spread = float(((torch.arange(16) - 8) ** 2 * dark).sum() / dark.sum()) ** 0.5
    assert spread == pytest.approx(1.5, abs=0.2)


def test_more_sigma_is_more_blur():
    contrasts = [float(guided(f"blur:sigma={sigma}")[0].std()) for sigma in (1, 2, 4)]
    assert contrasts == sorted(contrasts, reverse=True) and contrasts[2] < 0.5 * contrasts[0]


def test_colours_lie_under_the_lines(tmp_path):
    Image.new("RGB", (16, 16), (255, 128, 0)).save(tmp_path / "strokes,a=b.png")
    guide, _ = guided(f"colour:{tmp_path / 'strokes,a=b.png'}")
    pixels = ((guide + 1) * 127.5).round()
    assert pixels[:, 0, 0].tolist() == [255, 128, 0] and pixels[:, 0, 8].tolist() == [0, 0, 0]


def test_a_folder_has_colours_of_each_name(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, colour in (("a.png", "red"), ("sub/a.webp", "blue")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / name, lossless=True)
    for name, wanted in (("a.jpg", [1, -1, -1]), ("sub/a.png", [-1, -1, 1])):
        assert guided(f"colour:{tmp_path}", name=name)[0][:, 0, 0].tolist() == pytest.approx(wanted)
    with pytest.raises(ImageError, match=r"no colours for b\.png"):
        guided(f"colour:{tmp_path}", name="b.png")


def test_a_mask_is_one_or_the_other(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (16, 1))
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    _, placement = SQUARE.forward(lines())
    mask = Edit(mask=tmp_path / "mask.png").mask("a.png", SQUARE, placement)
    assert mask.shape == (1, 16, 16) and mask[0, 0].tolist() == [0.0] * 8 + [1.0] * 8
    assert Edit().mask("a.png", SQUARE, placement) is None


def test_a_mask_lies_on_its_image(tmp_path):
    """A large mask on a small picture of the same proportions."""
    whole = Image.new("L", (64, 32), 0)
    whole.paste(255, (0, 0, 32, 32))
    whole.save(tmp_path / "mask.png")
    _, placement = SQUARE.forward(lines((16, 8)))
    mask = Edit(mask=tmp_path / "mask.png").mask("a.png", SQUARE, placement)
    assert mask[0, 4:12, :8].min() == 1 and mask[0, 4:12, 8:].max() == 0
    _, placement = SQUARE.forward(lines((16, 16)))
    with pytest.raises(ImageError, match="proportions of the mask differ"):
        Edit(mask=tmp_path / "mask.png").mask("a.png", SQUARE, placement)


def test_the_record_of_a_guide_has_no_paths(tmp_path):
    lines().save(tmp_path / "one.png")
    lines((16, 8)).save(tmp_path / "two.png")
    told = [
        Edit(*given).describe("a.png")
        for given in (
            (None, None),
            ("blur", None),
            ("blur:sigma=2", None),
            (f"colour:{tmp_path / 'one.png'}", None),
            (f"colour:{tmp_path / 'two.png'}", None),
            (None, tmp_path / "one.png"),
            (None, tmp_path / "two.png"),
        )
    ]
    assert len({str(each) for each in told}) == len(told)
    assert not any(str(tmp_path) in str(each) for each in told)
    assert set(told[0].values()) == {None}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("blurr", "unknown guide"),
        ("blur:sigma=-1", "sigma"),
        ("blur:sigma=nan", "sigma"),
        ("blur:size=3", "no field"),
        ("colour", "needs an image"),
        ("colour:no/such.png", "no such file"),
    ],
)
def test_bad_guides_are_explained(spec, words):
    with pytest.raises(UsageError, match=words):
        Edit(spec)


def test_bad_files_cost_one_image(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no picture")
    _, placement = SQUARE.forward(lines())
    with pytest.raises(DdbmError) as caught:
        Edit(mask=tmp_path / "mask.png").mask("a.png", SQUARE, placement)
    assert isinstance(caught.value, ImageError)
    with pytest.raises(UsageError, match="no such file"):
        Edit(mask=tmp_path / "none.png")
