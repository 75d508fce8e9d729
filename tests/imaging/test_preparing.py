"""Drawings as people have them become what a model was trained on; clean ones are not touched."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddbm_cli.imaging.preparing import Expects, Prepared, Steps, arrays, lines, prepare
from ddbm_cli.imaging.preparing.page import find_page
from ddbm_cli.models import builtin_path
from tests.imaging import drawings, papers

SIZE = 64
EXPECTS = Expects(kind="line-art", margin=0.06)
KINDS = ("even", "shadow", "dim", "inverted", "thin", "corner", "wide", "transparent", "faint")


def made(image: Image.Image, **steps) -> Prepared:
    return prepare(image, EXPECTS, SIZE, Steps(**steps))


def alike(one: Image.Image, other: Image.Image) -> float:
    """Correlation of the darkness of two drawings at the model's size, allowing for a pixel of difference in place."""
    dark = []
    for image in (one, other):
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image if image.mode == "RGBA" else None)
        square = Image.new("RGB", (max(image.size),) * 2, "white")
        square.paste(flat, ((square.width - flat.width) // 2, (square.height - flat.height) // 2))
        values = 1 - np.asarray(square.convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)) / 255.0
        dark.append(arrays.blur(values.astype(np.float32), 1))
    return float(np.corrcoef(dark[0].ravel(), dark[1].ravel())[0, 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", range(3))
def test_a_drawing_of_any_kind_becomes_like_its_clean_sketch(kind, which):
    sketch = drawings.clean(which)
    drawing = drawings.kinds(which, seed=10 * which)[kind]
    found = made(drawing)
    assert not found.findings
    image = found.parts[0].image if found.parts else drawing
    assert alike(image, sketch) > 0.7
    if found.parts and kind not in ("inverted", "faint"):
        assert alike(image, sketch) > alike(drawing, sketch) + 0.2
    strength = lines.strength(arrays.pixels(image.convert("RGB")), SIZE) if image.mode == "RGB" else 0.36
    assert 0.15 < strength < 0.6


@pytest.mark.parametrize("kind", papers.KINDS)
def test_a_drawing_on_any_paper_becomes_like_its_clean_sketch(kind):
    sketch = drawings.clean(0)
    found = made(papers.KINDS[kind](sketch, np.random.default_rng(3)))
    assert not found.findings
    assert len(found.parts) == 1
    assert alike(found.parts[0].image, sketch) > 0.7
    if kind in ("ruled", "grid", "grid_scan"):
        assert "rules removed" in found.notes
    if kind in ("holes", "text"):
        assert "marks next to the drawing left out" in found.notes
    if kind == "ballpoint":
        assert lines.saturation(arrays.pixels(found.parts[0].image)) < 0.02


def test_a_drawing_as_pale_as_the_rules_is_reported():
    sketch = Image.blend(drawings.clean(0), Image.new("RGB", (256, 256), "white"), 0.8)
    found = made(papers.grid_scan(sketch, np.random.default_rng(3)))
    assert [finding.message.split(",")[0] for finding in found.findings] == [
        "the drawing is hardly darker than the rules of the paper"
    ]


@pytest.mark.parametrize("colours", [("#1030d0",) * 3, ("#40a0f0",) * 3])
def test_a_blue_pencil_is_no_ballpoint_pen(colours):
    found = made(drawings.photo(0, 5, colours=colours))
    assert lines.saturation(arrays.pixels(found.parts[0].image)) > 0.3


@pytest.mark.parametrize("side", [64, 128, 256, 700])
@pytest.mark.parametrize("colours", [drawings.INK, drawings.PENCILS])
@pytest.mark.parametrize("which", range(3))
def test_a_clean_sketch_is_not_touched(which, colours, side):
    assert made(drawings.clean(which, side, colours)) == Prepared()


def hatched(colour: str) -> Image.Image:
    """A T-shirt on white paper, filled with strokes between which little paper is left: more than half of the image."""
    sheet = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(sheet)
    shirt = [(70, 8), (186, 8), (250, 80), (210, 110), (210, 250), (46, 250), (46, 110), (6, 80)]
    draw.polygon(shirt, fill=colour)
    for x in range(50, 210, 9):
        draw.line([(x, 20), (x, 240)], fill="white", width=1)
    draw.line([*shirt, shirt[0]], fill="#202020", width=2)
    return sheet


@pytest.mark.parametrize("colour", ["#304878", "#909090", "#c08888"])
def test_a_drawing_that_fills_white_paper_is_no_sheet_of_paper(colour):
    found = made(hatched(colour))
    assert not found.parts and not found.notes
    assert [finding.kind for finding in found.findings] == ["photograph"]
    assert made(hatched(colour), drawing=True) == Prepared()


def test_strokes_between_those_of_a_drawing_are_no_words():
    def sketch(*, sleeves: bool) -> Image.Image:
        sheet = Image.new("RGB", (256, 256), "white")
        draw = ImageDraw.Draw(sheet)
        for x in range(96, 160, 6):  # a collar
            draw.line([(x, 22), (x + 2, 36)], fill="black", width=2)
        draw.rectangle((60, 44, 196, 236), outline="black", width=2)
        if sleeves:
            draw.line([(24, 90), (54, 30)], fill="black", width=2)
            draw.line([(232, 90), (202, 30)], fill="black", width=2)
        return sheet

    assert "marks next to the drawing left out" in made(sketch(sleeves=False)).notes
    assert made(sketch(sleeves=True)) == Prepared()


def test_objects_are_found_in_reading_order():
    found = made(drawings.six())
    assert len(found.parts) == 6
    assert "6 objects" in found.notes
    assert [finding.kind for finding in found.mended] == ["objects"]
    for number, part in enumerate(found.parts):
        assert alike(part.image, drawings.clean(number % 3)) > 0.8


def test_objects_stay_together_where_they_are_not_to_be_split():
    assert len(made(drawings.six(), split=False).parts) <= 1


@pytest.mark.parametrize("step", ["page", "light", "crop", "strengthen"])
def test_every_step_changes_something(step):
    drawing = drawings.photo(0, 3, gain=0.7)
    assert [part.image.tobytes() for part in made(drawing).parts] != [
        part.image.tobytes() for part in made(drawing, **{step: False}).parts
    ]


def test_colours_of_pencils_are_kept():
    found = made(drawings.photo(0, 5, colours=drawings.PENCILS))
    values = arrays.pixels(found.parts[0].image)
    dark = lines.darkness(values) > 0.3
    red = values[..., 0] - values[..., 2]
    assert lines.saturation(values) > 0.3
    assert red[dark].max() > 0.2 > -0.2 > red[dark].min()  # red roof, blue walls


def test_grey_ink_on_yellow_paper_has_no_colour():
    values = arrays.pixels(made(drawings.photo(1, 6)).parts[0].image)
    assert lines.saturation(values) < 0.02


def test_an_empty_image_is_reported():
    for image in (Image.new("RGB", (300, 200), "white"), drawings.paper((400, 300), np.random.default_rng(0))):
        found = made(image)
        assert [finding.kind for finding in found.findings] == ["empty"]
        assert not found.parts


def test_a_photograph_is_reported_and_left_alone():
    y, x = np.mgrid[0:300, 0:400]
    smooth = np.stack([128 + 90 * np.sin(x / 40 + y / 90), 128 + 90 * np.cos(y / 35), 60 + 0.4 * x], axis=-1)
    texture = smooth + np.random.default_rng(0).normal(0, 25, smooth.shape)
    disc = np.where(((x - 200) ** 2 + (y - 150) ** 2 < 120**2)[..., None], smooth, 255)
    for values in (texture, disc):
        found = made(Image.fromarray(values.clip(0, 255).astype(np.uint8)))
        assert [finding.kind for finding in found.findings] == ["photograph"]
        assert not found.parts


def test_thin_and_inverted_lines_are_reported():
    made_of = drawings.kinds(1)
    assert [finding.kind for finding in made(made_of["thin"]).mended] == ["thin"]
    assert [finding.kind for finding in made(made_of["inverted"]).mended] == ["inverted"]


@pytest.mark.parametrize("gain", [0.4, 0.5, 0.6])
def test_gaps_between_the_lines_of_a_dim_page_are_no_light_lines(gain):
    page = drawings.paper((800, 600), np.random.default_rng(0))
    for inset in (100, 106, 112, 118, 124):
        ImageDraw.Draw(page).rectangle((inset, inset, 799 - inset, 599 - inset), outline="black", width=2)
    assert "inverted" not in made(drawings.lit(page, np.random.default_rng(0), gain=gain, shadow=True)).notes


def test_a_dim_blackboard_is_inverted():
    board = papers.blackboard(drawings.clean(0), np.random.default_rng(0))
    assert "inverted" in made(Image.eval(board, lambda level: round(0.6 * level))).notes


def test_a_line_as_strong_as_asked_for():
    for width in (0.3, 0.6, 1.0):
        found = prepare(drawings.clean(0), Expects(kind="line-art", line_width=width), SIZE, Steps(forced=True))
        values = arrays.pixels(found.parts[0].image if found.parts else drawings.clean(0))
        if width > 0.4:
            assert abs(lines.strength(values, SIZE) / lines.of_width(width) - 1) < 0.15


@pytest.mark.parametrize("width", [0.1, 0.42, 0.9, 1.5])
def test_width_and_strength_are_inverse(width):
    assert lines.width_of(lines.of_width(width)) == pytest.approx(width, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_sides_of_a_page_are_found(seed):
    rng = np.random.default_rng(seed)
    page = drawings.on_table(drawings.lit(drawings.paper((640, 480), rng), rng), np.random.default_rng(seed))
    corners = find_page(arrays.pixels(page.reduce(4)))
    inset = np.random.default_rng(seed).uniform(0.03, 0.09, 8)
    true = [(inset[0], inset[1]), (1 - inset[2], inset[3]), (1 - inset[4], 1 - inset[5]), (inset[6], 1 - inset[7])]
    assert np.abs(corners - np.array(true)).max() < 0.015


def test_opencv_changes_nothing(monkeypatch):
    """Its operations are exact, so that an image is prepared to the same bytes with and without it."""
    if arrays.opencv() is None:
        pytest.skip("OpenCV is not installed")
    images = [*drawings.kinds(2, seed=4).values(), drawings.six()]
    fast = [made(image) for image in images]
    monkeypatch.setattr(arrays, "opencv", lambda: None)
    for image, found in zip(images, fast, strict=True):
        assert [part.image.tobytes() for part in made(image).parts] == [part.image.tobytes() for part in found.parts]


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 7), (16, 15)])
@pytest.mark.parametrize("grey", [0, 90, 255])
def test_tiny_images_raise_nothing(size, grey):
    made(Image.new("RGB", size, (grey,) * 3))
    made(Image.new("RGBA", size, (grey, grey, grey, 0)))
    made(Image.effect_noise(size, 80).convert("RGB"))


def test_many_threads_may_ask_for_opencv_at_once():
    """The first import takes a while; no other thread sees it half done."""
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from ddbm_cli.imaging.preparing.arrays import opencv\n"
        "with ThreadPoolExecutor(16) as pool:\n"
        "    assert len({id(each) for each in pool.map(lambda _: opencv(), range(64))}) == 1\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_packaged_sketches_are_not_touched():
    for file in sorted((builtin_path().parent / "sketches").glob("*.png")):
        assert made(Image.open(file).convert("RGB")) == Prepared()
