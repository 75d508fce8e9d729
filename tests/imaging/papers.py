"""Drawings on more kinds of paper, made from a clean sketch: ruled, grid, brown, crumpled, a board, a notebook."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ddbm_cli.imaging.preparing.arrays import blur
from tests.imaging import drawings

Values = NDArray[np.float64]
SIZE = (1200, 900)
BALLPOINT = (38, 52, 148)
MARKERS = ((30, 30, 34), (180, 30, 40), (30, 60, 150), (20, 110, 60))


def cover(sketch: Image.Image, side: int, widen: int = 0) -> Values:
    """How much ink there is (side, side), 0..1."""
    image = sketch.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    image = image.filter(ImageFilter.MinFilter(2 * widen + 1)) if widen else image
    return np.clip((1 - np.asarray(image).min(axis=2) / 255.0) * 1.3, 0, 1)


def hues(sketch: Image.Image, side: int) -> Values:
    """The colour of the ink (side, side, 3), 0..1."""
    values = np.asarray(sketch.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)) / 255.0
    return np.where((values.min(axis=2) < 0.95)[..., None], values, 0.15)


def lay(page: Values, ink: Values, colour: object, at: tuple[int, int], strength: float = 0.85) -> None:
    """Draw ink (h, w) of a colour onto a page (H, W, 3), 0..1, in place."""
    x, y = at
    part = page[y : y + ink.shape[0], x : x + ink.shape[1]]
    share = (ink * strength)[: part.shape[0], : part.shape[1], None]
    colour = np.broadcast_to(np.asarray(colour, float), (*ink.shape, 3))[: part.shape[0], : part.shape[1]]
    part[:] = part * (1 - share) + colour * share


def sheet(rng: np.random.Generator, base=(226, 222, 214), size=SIZE) -> Values:
    """A page with grain (H, W, 3), 0..1."""
    return np.asarray(drawings.paper(size, rng, base)) / 255.0


def image_of(page: Values) -> Image.Image:
    return Image.fromarray(np.rint(page.clip(0, 1) * 255).astype(np.uint8))


def shot(page: Values, rng: np.random.Generator, *, table: bool = True, **light) -> Image.Image:
    """A photograph of a page."""
    lit = drawings.lit(image_of(page), rng, **light)
    return drawings.on_table(lit, rng) if table else lit


def spot(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(200, 400)), int(rng.integers(90, 200))


def plain(page: Values, sketch: Image.Image, rng: np.random.Generator, colour: object = (0.2, 0.2, 0.22)) -> Values:
    ink = cover(sketch, 600)
    coloured = np.ptp(np.asarray(sketch.convert("RGB")).astype(int), axis=2).max() > 60
    lay(page, ink * rng.uniform(0.7, 1, ink.shape), hues(sketch, 600) if coloured else colour, spot(rng))
    return page


def ruled(sketch, rng):
    page = sheet(rng, (236, 234, 226))
    for y in range(70, 900, 34):
        page[y : y + 2] *= (0.78, 0.86, 0.95)
    page[:, 120:122] *= (0.95, 0.7, 0.72)
    return shot(plain(page, sketch, rng), rng)


def grid(sketch, rng):
    page = sheet(rng, (238, 238, 234))
    for x in range(10, 1200, 28):
        page[:, x : x + 2] *= (0.82, 0.88, 0.94)
    for y in range(14, 900, 28):
        page[y : y + 2] *= (0.82, 0.88, 0.94)
    return shot(plain(page, sketch, rng), rng, shadow=bool(rng.integers(2)))


def grid_scan(sketch, rng):
    page = np.ones((900, 1200, 3))
    for x in range(10, 1200, 28):
        page[:, x : x + 2] *= (0.75, 0.82, 0.9)
    for y in range(14, 900, 28):
        page[y : y + 2] *= (0.75, 0.82, 0.9)
    return image_of(plain(page, sketch, rng))


def holes(sketch, rng):
    image = image_of(sheet(rng))
    draw = ImageDraw.Draw(image)
    for y in range(40, 900, 75):
        draw.ellipse([24, y, 52, y + 28], fill=(74, 58, 48))
    return shot(plain(np.asarray(image) / 255.0, sketch, rng), rng)


def fingers(sketch, rng):
    photo = shot(plain(sheet(rng), sketch, rng), rng)
    mask = Image.new("L", photo.size, 0)
    draw = ImageDraw.Draw(mask)
    for number in range(int(rng.integers(1, 4))):
        y = 330 + 95 * number
        draw.rounded_rectangle([-80, y, int(rng.integers(90, 170)), y + 80], 40, fill=255)
    skin = Image.new("RGB", photo.size, (196, 140, 112))
    photo.paste(skin, mask=mask.filter(ImageFilter.GaussianBlur(3)))
    return photo


def ballpoint(sketch, rng):
    grey = sketch.convert("L").convert("RGB")
    return shot(plain(sheet(rng, (232, 230, 226)), grey, rng, np.array(BALLPOINT) / 255), rng)


def text(sketch, rng):
    page = plain(sheet(rng), sketch, rng)
    image = image_of(page)
    draw = ImageDraw.Draw(image)
    words = ("my drawing", "Tuesday, 4 May", "for grandmother")
    draw.text((260, 810), words[int(rng.integers(3))], fill=(60, 58, 62), font_size=44)
    return shot(np.asarray(image) / 255.0, rng)


def whiteboard(sketch, rng):
    page = np.ones((900, 1200, 3)) * (0.86, 0.88, 0.9)
    y, x = np.mgrid[0:900, 0:1200]
    glare = np.exp(-(((x - rng.uniform(200, 1000)) / 220) ** 2 + ((y - rng.uniform(50, 300)) / 160) ** 2))
    ink = cover(sketch, 620, widen=2)
    lay(page, ink * rng.uniform(0.8, 1, ink.shape), np.array(MARKERS[int(rng.integers(4))]) / 255, spot(rng), 0.9)
    page = page * (0.8 + 0.2 * x / 1200)[..., None] + 0.25 * glare[..., None]
    page[-60:] = (0.55, 0.56, 0.58)
    page[:22] = (0.6, 0.61, 0.63)
    return image_of(page + rng.normal(0, 0.012, page.shape)).filter(ImageFilter.GaussianBlur(0.8))


def blackboard(sketch, rng):
    page = np.ones((900, 1200, 3)) * (0.13, 0.24, 0.2)
    smear = np.asarray(Image.effect_noise((75, 100), 60).resize((1200, 900), Image.Resampling.BICUBIC)) / 255.0 - 0.5
    page += 0.06 * smear[..., None]
    ink = cover(sketch, 640, widen=2)
    lay(page, ink * rng.uniform(0.4, 1, ink.shape), (0.9, 0.9, 0.86), spot(rng), 0.85)
    return image_of(page + rng.normal(0, 0.015, page.shape))


def tablet(sketch, rng):
    ink = cover(sketch, 900, widen=1)
    canvas = np.zeros((1536, 2048, 4))
    x, y = int(rng.integers(100, 1000)), int(rng.integers(60, 600))
    canvas[..., :3] = 0.0
    canvas[y : y + 900, x : x + 900, :3] = hues(sketch, 900)
    canvas[y : y + 900, x : x + 900, 3] = ink * 0.8
    return Image.fromarray(np.rint(canvas * 255).astype(np.uint8), "RGBA")


def tablet_white(sketch, rng):
    ink = cover(sketch, 900, widen=1)
    canvas = np.ones((1000, 1400, 4))
    canvas[..., 3] = 0
    x = int(rng.integers(20, 480))
    canvas[50:950, x : x + 900, 3] = ink
    return Image.fromarray(np.rint(canvas * 255).astype(np.uint8), "RGBA")


def upright_sheet(sketch, rng):
    """A sheet that fills the middle third of a wide photograph of a table."""
    page = np.ones((1100, 1600, 3)) * (0.3, 0.24, 0.2) + rng.normal(0, 0.01, (1100, 1600, 1))
    paper = sheet(rng, size=(700, 960))
    ink = cover(sketch, 560)
    lay(paper, ink * rng.uniform(0.7, 1, ink.shape), (0.2, 0.2, 0.22), (70, int(rng.integers(80, 320))))
    x = int(rng.integers(250, 650))
    page[70:1030, x : x + 700] = paper
    turned = image_of(page).rotate(float(rng.uniform(-8, 8)), Image.Resampling.BICUBIC, fillcolor=(76, 61, 51))
    return drawings.lit(turned, rng)


def two_pages(sketch, rng):
    """An open notebook with a drawing on its right page, and nothing or a line of words on the left."""
    page = sheet(rng, (232, 230, 222), (1600, 1000))
    x = np.arange(1600)
    page *= (1 - 0.45 * np.exp(-np.abs(x - 800) / 40.0))[None, :, None]
    page[:, 797:803] *= 0.5
    ink = cover(sketch, 560)
    lay(page, ink * rng.uniform(0.7, 1, ink.shape), (0.2, 0.2, 0.22), (930, int(rng.integers(120, 340))))
    return shot(page, rng)


def kraft(sketch, rng):
    page = sheet(rng, (186, 148, 108))
    page += rng.normal(0, 0.03, (900, 1200, 1))
    ink = cover(sketch, 620, widen=1)
    lay(page, ink * rng.uniform(0.7, 1, ink.shape), (0.12, 0.1, 0.1), spot(rng), 0.9)
    return shot(page, rng)


def crumpled(sketch, rng):
    heights = Image.fromarray(rng.integers(0, 256, (7, 9)).astype(np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    page = plain(sheet(rng), sketch, rng)
    slope = np.gradient(np.asarray(heights) / 255.0, axis=1) * 9
    slope = blur(slope.astype(np.float32), 12)
    return shot(page * (1 - np.clip(slope, -0.12, 0.12))[..., None], rng)


def chat(sketch, rng):
    """A photograph that was sent through a chat program: small, blurred, much compressed."""
    import io

    photo = shot(plain(sheet(rng), sketch, rng), rng, gain=0.8).resize((480, 360), Image.Resampling.BILINEAR)
    body = io.BytesIO()
    photo.filter(ImageFilter.GaussianBlur(0.7)).save(body, "JPEG", quality=30)
    return Image.open(io.BytesIO(body.getvalue())).convert("RGB")


def tinted_scan(sketch, rng):
    """A scan of a yellowed sheet with a dark border on two sides, and specks."""
    page = sheet(rng, (240, 228, 196), (1700, 1240))
    ink = cover(sketch, 900)
    lay(page, ink * rng.uniform(0.6, 1, ink.shape), (0.25, 0.22, 0.22), (int(rng.integers(150, 700)), 150))
    page[:, -26:] = 0.08
    page[-18:] = 0.1
    for _ in range(30):
        x, y = int(rng.integers(0, 1690)), int(rng.integers(0, 1230))
        page[y : y + 4, x : x + 4] *= 0.5
    return image_of(page)


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    each.__name__: each
    for each in (
        ruled,
        grid,
        grid_scan,
        holes,
        fingers,
        ballpoint,
        text,
        whiteboard,
        blackboard,
        tablet,
        tablet_white,
        upright_sheet,
        two_pages,
        kraft,
        crumpled,
        chat,
        tinted_scan,
    )
}
"""A drawing of each kind, of a clean sketch (RGB)."""
