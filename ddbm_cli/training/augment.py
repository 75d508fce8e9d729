"""Augmentations of pairs: both images of a pair are changed with the same parameters.

    flip    left to right, with probability one half
    shift   by up to a sixteenth of each side
    crop    to a random part of 80 to 100 % of each side, enlarged to the whole
    scale   by a factor from 0.8 to 1.25, about the middle
    rotate  by up to 10 degrees
    colour  brightness, contrast and saturation by a factor from 0.8 to 1.2 each
    hue     by any angle, with probability one half; not where the first image is grey, which would not show it

What comes in from outside is paper. All draws are always made, so that one augmentation does not change the others.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CROP, SCALE, ROTATE, COLOUR = 0.2, math.log(1.25), math.radians(10), 0.2

GREY = 0.2
"""Difference of the channels of a pixel, at most, in an image that counts as grey; in -1..1."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of ITU-R BT.601."""


def augment(
    both: Tensor,
    random: torch.Generator,
    more: torch.Generator,
    kinds: Sequence[str],
    *,
    paper: float,
    size: int | None = None,
    rows: slice = slice(None),
) -> Tensor:
    """Return augmented pairs.

    Args:
        both: (B, 1 or 2, 3, H, W) in -1..1.
        random: draws flips and shifts.
        more: draws the others.
        kinds: names of augmentations.
        paper: value of what comes in from outside, -1..1.
        size, rows: `both` are these rows of a batch of `size`, for all of which numbers are drawn; by default all.
    """
    size = len(both) if size is None else size
    both = _flip_and_shift(both, random, kinds, paper=paper, size=size, rows=rows)
    draws = (torch.rand((8, size), generator=more) * 2 - 1)[:, rows]
    if {"crop", "scale", "rotate"} & set(kinds):
        both = _placed(both, draws[:5], kinds, paper=paper)
    if "colour" in kinds:
        both = _coloured(both, draws[5:])
    turns = (torch.rand((2, size), generator=more) * 2 - 1)[:, rows]
    return _turned(both, turns) if "hue" in kinds else both


def _flip_and_shift(
    both: Tensor, random: torch.Generator, kinds: Sequence[str], *, paper: float, size: int, rows: slice
) -> Tensor:
    height, width = both.shape[-2:]
    reaches = [max(1, side // 16) for side in (height, width)]
    flips = (torch.rand(size, generator=random) < 0.5)[rows]
    if height == width:
        shifts = torch.randint(0, 2 * reaches[0] + 1, (size, 2), generator=random)[rows].tolist()
    else:
        columns = [torch.randint(0, 2 * reach + 1, (size,), generator=random) for reach in reaches]
        shifts = torch.stack(columns, dim=1)[rows].tolist()
    if "flip" in kinds:
        both = torch.where(flips.view(-1, 1, 1, 1, 1), both.flip(-1), both)
    if "shift" in kinds:
        down, across = reaches
        padded = F.pad(both.flatten(1, 2), (across, across, down, down), value=paper)
        moved = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, shifts, strict=True)]
        both = torch.stack(moved).view_as(both)
    return both


def _placed(both: Tensor, draws: Tensor, kinds: Sequence[str], *, paper: float) -> Tensor:
    """Crop, scale and rotate at once, so that images are resampled only once."""
    height, width = both.shape[-2:]
    size, place_x, place_y, scale, turn = draws
    angle = ROTATE * turn if "rotate" in kinds else torch.zeros(len(both))
    zoom = torch.ones(len(both))
    offset = torch.zeros(len(both), 2)
    if "crop" in kinds:
        part = 1 - CROP * (size + 1) / 2
        zoom = zoom * part
        offset = (1 - part)[:, None] * torch.stack((place_x, place_y), dim=1)
    if "scale" in kinds:
        zoom = zoom / torch.exp(SCALE * scale)
    # Coordinates are -1..1 on both axes, so that a rotation of other than squares needs the ratio of the sides.
    cos, sin, ratio = zoom * angle.cos(), zoom * angle.sin(), width / height
    rows = (torch.stack((cos, -sin / ratio, offset[:, 0]), 1), torch.stack((sin * ratio, cos, offset[:, 1]), 1))
    flat = both.flatten(1, 2) - paper
    grid = F.affine_grid(torch.stack(rows, dim=1), list(flat.shape), align_corners=False)
    placed: Tensor = F.grid_sample(flat, grid, align_corners=False)
    return (placed + paper).clamp(-1, 1).view_as(both)


def _coloured(both: Tensor, draws: Tensor) -> Tensor:
    brightness, contrast, saturation = (1 + COLOUR * draw.view(-1, 1, 1, 1, 1) for draw in draws)
    luma = (both * torch.tensor(LUMA).view(1, 1, 3, 1, 1)).sum(2, keepdim=True)
    both = luma + saturation * (both - luma)
    # Contrast changes about middle grey, brightness about black.
    changed: Tensor = (both * contrast + 1) * brightness - 1
    return changed.clamp(-1, 1)


def _turned(both: Tensor, draws: Tensor) -> Tensor:
    """Turn colours about the axis of greys, which stay as they are (Rodrigues' rotation)."""
    turn, chosen = draws
    first = both[:, 0]
    coloured = (first.amax(1) - first.amin(1)).flatten(1).amax(1) > GREY
    angle = math.pi * turn * (coloured & (chosen < 0))
    cos, sin = (each.view(-1, 1, 1) for each in (angle.cos(), angle.sin()))
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    rotation = cos * torch.eye(3) + sin * cross + (1 - cos) / 3
    return torch.einsum("bij,bnjhw->bnihw", rotation, both).clamp(-1, 1)
