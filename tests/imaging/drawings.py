"""Drawings as people have them, made from a clean one: photographed, thin, faint, inverted, small, several."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]


def house(draw: ImageDraw.ImageDraw, place, pen: int, colours) -> None:
    draw.line([*place([(0.1, 0.45), (0.5, 0.07), (0.9, 0.45)])], fill=colours[0], width=pen, joint="curve")
    draw.line([*place([(0.17, 0.4), (0.17, 0.93), (0.83, 0.93), (0.83, 0.4)])], fill=colours[1], width=pen)
    draw.rectangle([*place([(0.42, 0.62), (0.58, 0.93)])], outline=colours[2], width=pen)
    draw.rectangle([*place([(0.25, 0.5), (0.38, 0.62)])], outline=colours[2], width=pen)


def fish(draw: ImageDraw.ImageDraw, place, pen: int, colours) -> None:
    draw.ellipse([*place([(0.08, 0.25), (0.7, 0.75)])], outline=colours[0], width=pen)
    draw.line([*place([(0.68, 0.5), (0.92, 0.3), (0.92, 0.7), (0.68, 0.5)])], fill=colours[1], width=pen)
    draw.ellipse([*place([(0.2, 0.4), (0.28, 0.48)])], outline=colours[2], width=pen)
    draw.arc([*place([(0.35, 0.35), (0.55, 0.65)])], 300, 60, fill=colours[2], width=pen)


def face(draw: ImageDraw.ImageDraw, place, pen: int, colours) -> None:
    draw.ellipse([*place([(0.08, 0.07), (0.92, 0.93)])], outline=colours[0], width=pen)
    draw.ellipse([*place([(0.3, 0.32), (0.4, 0.42)])], outline=colours[1], width=pen)
    draw.ellipse([*place([(0.6, 0.32), (0.7, 0.42)])], outline=colours[1], width=pen)
    draw.arc([*place([(0.28, 0.35), (0.72, 0.78)])], 20, 160, fill=colours[2], width=pen)


OBJECTS = (house, fish, face)
INK = ("#0f0f0f",) * 3
PENCILS = ("#c02040", "#2040b0", "#208040")


def onto(page: Image.Image, which: int, at: Point, side: float, pen: int = 0, colours=INK) -> None:
    """Draw an object into a square of the page; the pen is by default as wide as that of a clean drawing."""
    corner = np.array(at)

    def place(points):
        return [tuple(corner + side * np.array(point)) for point in points]

    OBJECTS[which](ImageDraw.Draw(page), place, pen or max(1, round(side * 0.0066)), colours)


@cache
def clean(which: int, side: int = 256, colours=INK) -> Image.Image:
    """A drawing as the model was trained on, with smooth lines."""
    page = Image.new("RGB", (4 * side, 4 * side), "white")
    onto(page, which, (0, 0), 4 * side, colours=colours)
    return page.reduce(4)


def paper(size, rng, base=(222, 214, 200)) -> Image.Image:
    grain = rng.normal(0, 4, (size[1], size[0], 1))
    return Image.fromarray((np.array(base) + grain).clip(0, 255).astype(np.uint8))


def lit(page: Image.Image, rng, *, gain: float = 1.0, shadow: bool = False) -> Image.Image:
    """A page in light that falls off, perhaps with a shadow across it, and with the noise of a camera."""
    height, width = page.height, page.width
    y, x = np.mgrid[0:height, 0:width]
    light = gain * (1.0 - 0.25 * x / width - 0.15 * y / height)
    if shadow:
        light = light * (1 - 0.4 / (1 + np.exp(-(x - 0.6 * width + 0.3 * (y - height / 2)) / (width / 30))))
    values = np.asarray(page).astype(float) * light[..., None] * (1, 0.98, 0.93)
    return Image.fromarray((values + rng.normal(0, 5, values.shape)).clip(0, 255).astype(np.uint8))


def on_table(page: Image.Image, rng) -> Image.Image:
    """A page on a dark table, seen at an angle."""
    width, height = page.size
    inset = rng.uniform(0.03, 0.09, 8)
    corners = [
        (inset[0] * width, inset[1] * height),
        ((1 - inset[2]) * width, inset[3] * height),
        ((1 - inset[4]) * width, (1 - inset[5]) * height),
        (inset[6] * width, (1 - inset[7]) * height),
    ]
    rows, values = [], []
    for (x, y), (u, v) in zip(((0, 0), (width, 0), (width, height), (0, height)), corners, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    coefficients = np.linalg.solve(np.array(rows), np.array(values))
    return page.transform(
        page.size, Image.Transform.PERSPECTIVE, tuple(coefficients), Image.Resampling.BICUBIC, fillcolor=(72, 56, 46)
    )


def photo(which: int, seed: int, *, table: bool = True, colours=INK, **light) -> Image.Image:
    rng = np.random.default_rng(seed)
    page = paper((1000, 750), rng)
    ink = Image.new("RGB", page.size, "white")
    onto(ink, which, (rng.uniform(150, 350), rng.uniform(60, 160)), 480, pen=3, colours=colours)
    drawn = np.asarray(ink.filter(ImageFilter.GaussianBlur(0.6))).astype(float) / 255
    page = lit(Image.fromarray((np.asarray(page) * (0.25 + 0.75 * drawn)).astype(np.uint8)), rng, **light)
    return on_table(page, rng) if table else page


@cache
def kinds(which: int, seed: int = 0) -> dict[str, Image.Image]:
    """One drawing of each kind."""
    rng = np.random.default_rng(seed)
    drawings = {
        "even": photo(which, seed, table=False),
        "shadow": photo(which, seed + 1, shadow=True),
        "dim": photo(which, seed + 2, gain=0.5),
    }
    light = 255 - np.asarray(clean(which, 400))
    drawings["inverted"] = Image.fromarray(light)
    page = Image.new("RGB", (1800, 1300), (252, 252, 250))
    onto(page, which, (400, 100), 1100, pen=3, colours=("#202020",) * 3)
    drawings["thin"] = page
    page = Image.new("RGB", (1200, 1200), "white")
    page.paste(clean(which, 260), (int(rng.integers(10, 900)), 850))
    drawings["corner"] = page
    page = Image.new("RGB", (1500, 300), "white")
    page.paste(clean(which, 280), (int(rng.integers(10, 1200)), 10))
    drawings["wide"] = page
    cover = np.asarray(clean(which, 400).convert("L"))
    ink = np.full((400, 400, 4), 10, np.uint8)
    ink[..., 3] = 255 - cover
    drawings["transparent"] = Image.fromarray(ink, "RGBA")
    page = np.asarray(paper((800, 800), rng, (249, 248, 245))).astype(float)
    shade = np.ones((800, 800))
    shade[60:740, 60:740] = 1 - 0.3 * (1 - np.asarray(clean(which, 680).convert("L")) / 255) * rng.uniform(0.3, 0.9)
    drawings["faint"] = Image.fromarray((page * shade[..., None]).clip(0, 255).astype(np.uint8))
    return drawings


def six() -> Image.Image:
    page = Image.new("RGB", (1500, 1050), "white")
    for number in range(6):
        page.paste(clean(number % 3, 300), (60 + number % 3 * 500, 50 + number // 3 * 530))
    return page
