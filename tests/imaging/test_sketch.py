"""Laws of sketches."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.sketch import draw, on_white

CLEAR = (0, 0, 0, 0)


def disc(colour, *, side=256, background=CLEAR, mode="RGBA"):
    """A disc in the middle, of half the picture's width."""
    picture = Image.new(mode, (side, side), background)
    ImageDraw.Draw(picture).ellipse((side // 4, side // 4, 3 * side // 4, 3 * side // 4), fill=colour)
    return picture


def sketch(picture, style="ink", *, size=64, seed=0):
    return np.asarray(draw(picture, size=size, style=style, rng=np.random.default_rng(seed))).astype(int)


def ring(size, inner, outer):
    """Where the distance to the middle is between two shares of the half side."""
    grid = (np.arange(size) + 0.5) / size * 2 - 1
    far = np.hypot(grid[:, None], grid[None])
    return (far > inner) & (far < outer)


def line_colour(pixels):
    """The mean colour of the darkest pixels."""
    light = pixels.sum(axis=2)
    return pixels[light <= np.quantile(light[light < 750], 0.3)].mean(axis=0)


@pytest.mark.parametrize("size", [8, 64, 97, 128, 256])
def test_both_sides_are_squares_of_the_size(size):
    picture = disc("red").crop((0, 30, 256, 200))
    for image in (on_white(picture, size), draw(picture, size=size, style="ink", rng=np.random.default_rng(0))):
        assert (image.mode, image.size) == ("RGB", (size, size))


@pytest.mark.parametrize("box", [(0, 40, 256, 216), (40, 0, 216, 256)])
def test_lines_lie_where_the_image_changes(box):
    picture = disc("navy").crop(box)
    target, lines = np.asarray(on_white(picture, 64)).min(axis=2) < 128, sketch(picture).min(axis=2) < 128
    for axis in (0, 1):
        there, drawn = (np.flatnonzero(mask.any(axis=axis)) for mask in (target, lines))
        assert abs(there[0] - drawn[0]) <= 1
        assert abs(there[-1] - drawn[-1]) <= 1


def test_a_image_is_padded_with_white_and_laid_on_white():
    picture = Image.new("RGBA", (200, 100), (0, 0, 255, 128))
    pixels = np.asarray(on_white(picture, 64))
    assert (pixels[:15] == 255).all() and (pixels[49:] == 255).all()
    assert np.abs(pixels[20:44] - np.array([127, 127, 255])).max() <= 1


@pytest.mark.parametrize("style", ["ink", "pencil"])
def test_paper_is_white_away_from_lines_and_the_outline_is_closed(style):
    pixels = sketch(disc("red"), style)
    assert (pixels[~ring(64, 0.44, 0.56)] == 255).all()
    rows, columns = np.nonzero(pixels.min(axis=2) < 160)
    angles = np.sort(np.arctan2(rows - 31.5, columns - 31.5))
    assert np.diff(angles, append=angles[0] + 2 * np.pi).max() < 0.15


def test_a_line_is_one_to_one_and_a_half_pixels_wide():
    for seed in range(8):
        ink = (255 - sketch(disc("red"), seed=seed)[..., 0]).sum() / 240
        assert 0.9 < ink / (np.pi * 32) < 1.5


def test_a_white_thing_keeps_its_outline():
    pixels = sketch(disc("white"))
    assert (pixels[ring(64, 0.47, 0.52)].min(axis=1) < 200).mean() > 0.9


def test_a_thing_that_ends_at_the_border_is_outlined_there():
    touching = disc("green").crop((64, 64, 192, 192))
    assert (sketch(touching)[:4, 28:36].min(axis=(0, 2)) < 128).all()


def test_a_whole_photo_has_no_frame():
    photo = Image.new("RGB", (100, 60), "white")
    photo.paste("green", (40, 20, 60, 40))
    pixels = sketch(photo)
    assert (pixels[:20] == 255).all() and (pixels[44:] == 255).all()
    assert (sketch(Image.new("RGB", (100, 100), "green")) == 255).all()


def test_shading_is_no_line():
    ramp = np.tile(np.linspace(0, 255, 256, dtype=np.uint8), (256, 1))
    assert (sketch(Image.fromarray(ramp)) == 255).all()


def test_noise_and_specks_are_no_lines():
    noise = np.random.default_rng(0).normal(200, 3, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    noise[100:103, 100:103] = 170
    assert (sketch(Image.fromarray(noise)) == 255).all()


def test_inner_lines_of_equal_lightness_are_drawn():
    picture = Image.new("RGB", (256, 256), (200, 60, 60))
    picture.paste((40, 140, 60), (128, 0, 256, 256))
    assert (sketch(picture)[8:56, 30:34].min(axis=(1, 2)) < 128).all()


def test_something_thin_and_dark_is_one_stroke():
    picture = Image.new("RGB", (256, 256), (255, 200, 60))
    ImageDraw.Draw(picture).line((60, 128, 196, 128), fill=(60, 20, 20), width=6)
    column = sketch(picture)[:, 32, 0] < 128
    assert column[31:33].any() and 1 <= column.sum() <= 3


def test_ink_has_no_colour():
    pixels = sketch(disc("red", background="blue"))
    assert np.ptp(pixels, axis=2).max() == 0
    assert pixels.min() < 60


def test_a_pencil_has_the_colour_of_the_thing():
    red, _, blue = line_colour(sketch(disc("red"), "pencil"))
    assert red - blue > 100
    red, _, blue = line_colour(sketch(disc("blue"), "pencil"))
    assert blue - red > 100


def test_a_pencil_draws_white_things_grey_and_pale_things_visibly():
    assert np.ptp(line_colour(sketch(disc("white"), "pencil"))) < 8
    for colour in ("white", "yellow", "lightcyan", "pink"):
        assert line_colour(sketch(disc(colour), "pencil")).min() < 190


def test_a_pencil_distinguishes_light_from_dark():
    pale, dark = (line_colour(sketch(disc(colour), "pencil")).mean() for colour in ("lightgreen", "darkgreen"))
    assert pale - dark > 40


def test_a_pencil_is_softer_than_ink():
    assert sketch(disc("maroon"), "pencil").mean() > sketch(disc("maroon"), "ink").mean()


def test_the_same_generator_gives_the_same_sketch_and_another_another():
    first, again, other = (sketch(disc("red"), "pencil", seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGB"])
def test_any_mode_is_drawn(mode):
    picture = disc("black", background="white", mode="RGB").convert(mode)
    assert sketch(picture).min() < 60


@pytest.mark.parametrize("side", [1, 3, 1000])
def test_any_number_of_pixels_is_drawn(side):
    assert sketch(disc("red", side=side)).shape == (64, 64, 3)


def test_an_empty_image_is_empty_paper():
    for style in ("ink", "pencil"):
        assert (sketch(Image.new("RGBA", (64, 64), CLEAR), style) == 255).all()


def test_an_unknown_style_is_refused():
    with pytest.raises(UsageError, match="crayon"):
        draw(disc("red"), size=64, style="crayon", rng=np.random.default_rng(0))
