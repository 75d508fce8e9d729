"""From a drawing as people have it to images as the model was trained on.

    1. light     divide by the brightness of the paper                       light.py
    2. page      find the sheet's sides in a photograph, and straighten it   page.py, frame.py
    3. polarity  exchange light and dark of white lines on black             polarity.py
    4. grain     make the paper white, without folds, rules and grids        lines.py, marks.py
    5. objects   find what is drawn, and what of it belongs together         objects.py, marks.py
    6. crop      to each object, with the margin of the training images
    7. lines     strengthen what is faint or thin; ink becomes grey          lines.py

Steps 1 to 5 look at a small copy of the image; what is cut out comes from the image itself. An image that has nothing
to mend is not touched.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ddbm_cli.imaging.preparing import lines, marks
from ddbm_cli.imaging.preparing.arrays import Floats, Mask, lowest, picture, pixels, spread
from ddbm_cli.imaging.preparing.expects import Expects
from ddbm_cli.imaging.preparing.findings import EMPTY, INVERTED, LOST, PHOTOGRAPH, Finding, several, thin_lines
from ddbm_cli.imaging.preparing.frame import EDGE, Box, Frame
from ddbm_cli.imaging.preparing.light import coarse, even, ground_of, is_paper, paper_of
from ddbm_cli.imaging.preparing.objects import Region, objects, regions, whole
from ddbm_cli.imaging.preparing.page import find_page
from ddbm_cli.imaging.preparing.polarity import inverted, is_inverted

LOOKED_AT = 400
"""Longer side of the copy that is looked at, in pixels, at most."""

DETAIL = 3
"""Prepared images have about this many times the model's size."""

WHITE = 0.975
"""Brightness of paper that needs no mending."""

FILLED = 0.8
"""Median brightness of what is not white, below which it is filled areas and not a sheet of paper on white."""

CENTRED = 0.18
"""Distance of a drawing's middle from the image's that needs no mending, as a fraction of the longer side."""

FILLING = 0.8
"""Longer side of a drawing that needs no cropping, as a fraction of the image's longer side."""

SMALL = 0.35
"""The same for a drawing that needs nothing else: small objects were trained on as well."""

FAINT = 0.42
"""Strength of lines that need no mending, as a fraction of that of the training images."""

DRAWN = 0.83
"""Strength that lines are given, as a fraction of that of the training images: that of clean sketches of 256 pixels."""

CROWDED = 0.63
"""Strength of lines, as a fraction of that of the training images, below which a drawing may be of several objects."""

MODEST = 1.5
"""Factor by which lines on white paper are strengthened at most, if they are not faint: pale colours stay pale."""

PAPER = 0.5
"""Fraction of a drawing that is paper, at least."""

COARSEST = 0.1
"""Standard deviation of the paper's darkness, at most."""

RULED = 0.35
"""Darkness over which rules are removed, as a multiple of the threshold; the grain of paper needs 1."""

LEFT = 0.5
"""Extent of what is left of a drawing on ruled paper, as a fraction of its square, at least."""

SOLID = 0.3
"""Fraction of a drawing's box that is filled, from which it is no line art."""

MOST_OBJECTS = 64


@dataclass(frozen=True)
class Steps:
    """Which steps may be done.

    split: translate several objects one by one. forced: strengthen lines that are strong enough, too.
    drawing: the image is one, whatever it looks like.
    """

    page: bool = True
    light: bool = True
    crop: bool = True
    strengthen: bool = True
    split: bool = True
    forced: bool = False
    drawing: bool = False


class Part(NamedTuple):
    """One object: a square image (RGB), and where it lies on the page, in the pixels of the page."""

    image: Image.Image
    box: Box


@dataclass(frozen=True)
class Prepared:
    """What became of an image.

    parts: the images for the model; none if the image is to be used as it is. page: width and height of what the parts
    lie on. notes: what was done. mended: what of it the model does not expect. findings: what is left of that.
    """

    parts: tuple[Part, ...] = ()
    page: tuple[float, float] = (0.0, 0.0)
    notes: tuple[str, ...] = ()
    mended: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()


def prepare(image: Image.Image, expects: Expects, size: int, steps: Steps) -> Prepared:
    """Bring an image to what a model for line art expects.

    Args:
        image: upright, RGB or RGBA.
        expects: what the model was trained on. size: the side of its square, in pixels.
    """
    flat, notes = _on_white(image)
    mended = []
    scale = max(1, -(-max(flat.size) // LOOKED_AT))
    copy = flat.reduce(scale) if scale > 1 else flat
    small = pixels(copy)
    white = is_white(small)
    negative = not white and is_inverted(small)
    if negative:
        flat, small = picture(inverted(pixels(flat))), inverted(small)
        copy = picture(small)
        notes.append("inverted")
        mended.append(INVERTED)
        white = is_white(small)
    paper, corners = None, None
    if not white:
        coarser = coarse(small)
        corners = find_page(ground_of(coarser)) if steps.page and not negative else None
        paper = paper_of(coarser) if steps.light else None
        if paper is not None and not steps.drawing and not _is_paper(small, paper):
            return Prepared(findings=(PHOTOGRAPH,))
    frame = Frame(flat, None if corners is None else corners * np.array(flat.size))
    notes += ["page straightened"] if corners is not None else []
    notes += ["light evened"] if paper is not None else []
    width, height = frame.size
    if corners is None:
        seen = small if paper is None else even(small, paper)
    else:
        page = Frame(copy, corners * np.array(copy.size))
        seen = page.cut((0, 0, *page.size), LOOKED_AT, paper)
    seen = seen if paper is None else lines.without_shade(seen)
    dark = lines.darkness(seen)
    threshold = lines.floor(dark, white=white)
    edge = 0 if corners is None else 2 + round(EDGE * max(dark.shape))
    found, dropped = regions(dark, threshold, edge)
    ruled = 0 if paper is None else marks.ruled(dark, threshold)
    nothing = LOST if ruled else EMPTY
    if ruled:
        above = max(threshold, marks.level(dark, ruled))
        drawn_on, border = regions(dark, above, edge)
        ruled = ruled if drawn_on else 0
        found, dropped, threshold = (drawn_on, border, above) if ruled else (found, dropped, threshold)
        notes += ["rules removed"] if ruled else []
    if not found:
        return Prepared(findings=(nothing,))
    if not steps.drawing and is_photograph(dark, threshold, found, size):
        return Prepared(findings=(PHOTOGRAPH,))
    others = marks.others(found, dark, threshold, is_ruled=ruled > 0, on_paper=paper is not None)
    found = [region for region in found if region not in others]
    notes += ["marks next to the drawing left out"] if others else []
    veil = marks.veil([*dropped, *others], found, dark.shape)
    zoom = max(width, height) / max(dark.shape)
    around = whole(found)
    groups = [around]
    drawn = lines.without_grain(seen, threshold, soft=RULED if ruled else 1.0)
    drawn = drawn if veil is None else np.where(veil[..., None], np.float32(1), drawn)
    inked = drawn[around.top : around.bottom, around.left : around.right]
    target = _target(expects, coloured=lines.saturation(inked) > lines.COLOURED)
    if steps.split and lines.strength(inked, size) < CROWDED * target:
        groups = objects(found)
        groups = groups if expects.objects < len(groups) <= MOST_OBJECTS else [around]
    square = abs(width / height - 1) < 0.05
    clean = not notes and len(groups) == 1 and not _to_crop(around, dark.shape, SMALL if square else FILLING)
    thin = lines.strength(drawn, size)
    faint = thin < target * (0.97 if steps.forced else FAINT)
    if clean and not (steps.strengthen and faint):
        return Prepared()
    if len(groups) == 1 and thin < lines.of_width(min(0.5, expects.line_width)) * FAINT:
        mended.append(thin_lines(lines.width_of(thin)))
    if len(groups) > 1:
        notes.append(f"{len(groups)} objects")
        mended.append(several(len(groups), expects.objects))
    parts, gains = [], []
    for group in groups:
        crop = steps.crop and (len(groups) > 1 or _to_crop(group, dark.shape, FILLING) or corners is not None)
        box = _square(group, zoom, expects.margin) if crop else _whole_box(width, height)
        cut = frame.cut(box, DETAIL * size, paper)
        if veil is not None:
            cut = np.where(_cut_veil(veil, box, zoom, cut.shape)[..., None], np.float32(1), cut)
        made, gain = _part(cut, size, expects, steps, ruled=ruled, on_paper=paper is not None, white=white)
        parts.append(Part(made, box))
        gains.append(gain)
        notes += ["cropped to the drawing"] if crop and len(groups) == 1 else []
    if max(gains) > 1.05:
        notes.append(f"lines strengthened {max(gains):.1f} times")
    lost = (LOST,) if ruled and not any(_fills(part.image) for part in parts) else ()
    return Prepared(tuple(parts), (width, height), tuple(notes), tuple(mended), lost)


def _on_white(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return an image on white paper; a drawing in white on a transparent ground is drawn in black."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB"), []
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image.convert("RGB"), mask=image)
    alpha = np.asarray(image.getchannel("A"))
    if (alpha < 128).mean() > PAPER and np.asarray(flat.reduce(max(1, max(flat.size) // 256))).min() > 235:
        black = Image.new("RGB", image.size, "white")
        black.paste(Image.new("RGB", image.size, "black"), mask=image.getchannel("A"))
        return black, ["white lines drawn in black"]
    return flat, []


def is_white(small: Floats) -> bool:
    """Return whether the paper is white: nearly all of the border, and half of all pixels unless areas are filled."""
    light = lowest(small)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    white = light >= WHITE
    return bool((border >= WHITE).mean() >= 0.9 and (white.mean() >= 0.5 or np.median(light[~white]) < FILLED))


def _is_paper(small: Floats, paper: Floats) -> bool:
    """Return whether a ground is of one hue, and without texture."""
    return is_paper(paper) and lines.grain(lines.darkness(even(small[::3, ::3], paper))) < COARSEST


def is_photograph(dark: Floats, threshold: float, found: list[Region], size: int) -> bool:
    """Return whether there is little paper, or large areas are filled."""
    around = whole(found)
    inside = dark[around.top : around.bottom, around.left : around.right] > threshold
    if (dark > threshold).mean() > PAPER:
        return True
    reach = max(1, round(1.5 * around.extent / size))
    return bool((spread(inside.astype(np.float32), reach, np.minimum) > 0).mean() > SOLID)


def _target(expects: Expects, *, coloured: bool) -> float:
    """Return how strong the lines of a drawing of the training are."""
    return lines.of_width(expects.line_width) * (lines.PENCIL if coloured else 1)


def _to_crop(around: Region, shape: tuple[int, ...], filling: float) -> bool:
    """Return whether a drawing is too small in its image, or far from the middle."""
    longer = max(shape[:2])
    x, y = (around.left + around.right) / 2 - shape[1] / 2, (around.top + around.bottom) / 2 - shape[0] / 2
    return around.extent < filling * longer or max(abs(x), abs(y)) > CENTRED * longer


def _square(region: Region, zoom: float, margin: float) -> Box:
    """Return the square around a region, in the pixels of the page."""
    half = region.extent * zoom / (1 - 2 * margin) / 2
    x, y = (region.left + region.right) / 2 * zoom, (region.top + region.bottom) / 2 * zoom
    return x - half, y - half, x + half, y + half


def _whole_box(width: float, height: float) -> Box:
    half = max(width, height) / 2
    return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half


def _cut_veil(veil: Mask, box: Box, zoom: float, shape: tuple[int, ...]) -> Mask:
    """Return the part (h, w) of a veil (H, W) that is in a box of the page."""
    ys, xs = (
        np.floor((low + (np.arange(length) + 0.5) * (high - low) / length) / zoom).astype(int)
        for low, high, length in ((box[1], box[3], shape[0]), (box[0], box[2], shape[1]))
    )
    inside = ((ys >= 0) & (ys < veil.shape[0]))[:, None] & ((xs >= 0) & (xs < veil.shape[1]))[None]
    found: Mask = veil[ys.clip(0, veil.shape[0] - 1)][:, xs.clip(0, veil.shape[1] - 1)] & inside
    return found


def _fills(image: Image.Image) -> bool:
    """Return whether a prepared image shows more than a few specks."""
    ys, xs = np.nonzero(lines.darkness(pixels(image)) > lines.LEAST)
    return len(ys) > 0 and bool(max(np.ptp(ys), np.ptp(xs)) > LEFT * max(image.size))


def _part(
    cut: Floats, size: int, expects: Expects, steps: Steps, *, ruled: int, on_paper: bool, white: bool
) -> tuple[Image.Image, float]:
    """Return the image of one object, and the factor by which its lines were strengthened."""
    cut = lines.without_shade(cut) if on_paper else cut
    dark = lines.darkness(cut)
    floor = lines.floor(dark, white=white)
    if ruled:
        above = max(floor, marks.level(dark, ruled))
        cut = lines.without_grain(cut, above, soft=RULED)
        cut = np.where(marks.dots(lines.darkness(cut) > above / 2)[..., None], np.float32(1), cut)
    else:
        cut = lines.without_grain(cut, floor)
    coloured = lines.saturation(cut) > lines.COLOURED and not (on_paper and lines.is_blue_ink(cut))
    cut = cut if coloured or not on_paper else lines.grey(cut)
    if not steps.strengthen:
        return picture(cut), 1.0
    target = _target(expects, coloured=coloured) * (1 if steps.forced else DRAWN)
    found = lines.strength(cut, size)
    if not on_paper and not steps.forced and found > FAINT * target:
        target = min(target, MODEST * found)
    cut, gain = lines.strengthened(cut, size, target, found)
    return picture(cut), gain
