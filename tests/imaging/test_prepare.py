"""Both images of a pair are placed alike, or the pair is refused."""

import pytest
import torch
from PIL import Image, ImageDraw

from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.imaging.pairs import Pair
from ddbm_cli.imaging.prepare import fit_of, prepared, probed
from ddbm_cli.imaging.preprocess import Preprocess


def image(size, background="white"):
    """A red ellipse that touches no border."""
    drawn = Image.new("RGB", size, background)
    box = (size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4)
    ImageDraw.Draw(drawn).ellipse(box, fill="red")
    return drawn


def pair(folder, source, target):
    source.save(folder / "a.png")
    target.save(folder / "b.png")
    return Pair("x", folder / "a.png", folder / "b.png")


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [(64, 32), (63, 40), (32, 32), (101, 67)])
def test_images_of_two_resolutions_lie_alike(tmp_path, fit, size):
    both = pair(tmp_path, image((4 * size[0] + 1, 4 * size[1])), image(size))
    source, target = prepared(both, Preprocess(size=32, fit=fit)).float()
    boxes = [(side[1] < 128).nonzero().aminmax(dim=0) for side in (source, target)]
    assert all((one - other).abs().max() <= 1 for one, other in zip(*boxes, strict=True))


def test_the_target_is_prepared_as_when_translating(tmp_path):
    both = pair(tmp_path, image((64, 32)), image((64, 32)))
    source, target = prepared(both, Preprocess(size=32, fit="pad"))
    expected, _ = Preprocess(size=32, fit="pad").forward(image((64, 32)))
    assert torch.equal(source, target) and torch.equal(target, ((expected + 1) * 127.5).round().to(torch.uint8))


@pytest.mark.parametrize("look", [prepared, probed])
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_other_proportions_are_refused_with_both_sizes(tmp_path, fit, look):
    both = pair(tmp_path, image((32, 32)), image((64, 32)))
    with pytest.raises(ImageError, match="32x32 and 64x32 pixels differ in their proportions") as error:
        look(both, Preprocess(size=16, fit=fit))
    assert "--fit stretch" in error.value.hint
    look(both, Preprocess(size=16, fit="stretch"))


def test_the_halves_of_one_image_are_a_pair(tmp_path):
    joined = Image.new("RGB", (64, 32))
    joined.paste(image((32, 32), "black"), (0, 0))
    joined.paste(image((32, 32)), (32, 0))
    joined.save(tmp_path / "ab.png")
    source, target = prepared(
        Pair("ab", tmp_path / "ab.png", tmp_path / "ab.png", side_by_side=True), Preprocess(size=32)
    )
    assert source[0, 0, 0] == 0 and target[0, 0, 0] == 255 and source.shape == target.shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("size", "background", "fit"),
    [
        ((32, 32), "grey", "pad"),
        ((64, 32), "grey", "crop"),
        ((64, 32), "white", "pad"),
        ((20, 60), (9, 90, 30), "crop"),
    ],
)
def test_photographs_are_cropped_and_drawings_padded(tmp_path, size, background, fit):
    pairs = []
    for index in range(5):
        image(size, background).save(tmp_path / f"{index}.png")
        pairs.append(Pair(str(index), None, tmp_path / f"{index}.png"))
    (tmp_path / "broken.png").write_bytes(b"x")
    assert fit_of([*pairs, Pair("broken", None, tmp_path / "broken.png")]) == fit


def test_a_rotated_photograph_has_the_size_that_is_visible(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image((64, 32)).save(tmp_path / "a.jpg", exif=exif)
    image((32, 64)).save(tmp_path / "b.jpg")
    probed(Pair("x", tmp_path / "a.jpg", tmp_path / "b.jpg"), Preprocess(size=16))
