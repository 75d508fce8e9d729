"""The self-check: whether a model denoises. A few network evaluations on a known image detect wrong cards and weights.

The source is an image of outlines, the target one of filled shapes. States on the path between them, with two draws of
noise each, are denoised. The estimate should be in the range of images, closer to the target than the state, and have
little of the noise left. These figures need no record of the model, and have wide limits. On the default model they
detect: a wrong time embedding input, wrong sigmas, a swapped concatenation, noise in the weights, untrained weights,
values out of float16's range, and a schedule that is far off.

A fingerprint holds the means, standard deviations and some projections of the estimates. It also detects a schedule
that is slightly off, queries and keys in another order, and the weights of another step. It has to be recorded from the
correct model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddbm_cli.denoisers import Conditions
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.assemble import size_multiple
from ddbm_cli.models.card import DIRECTIONS
from ddbm_cli.models.load import load_file
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.samplers import NoiseSource

LEVELS = (0.2, 0.7, 2.0)
"""Noise levels c / b of the states."""

RANGE = 1.4
"""The 99.9th percentile of an estimate's absolute values stays below this."""

NOISE_LEFT = (0.4, 0.4, 0.12)
ERROR = (0.75, 0.75, 0.3)
"""Largest fraction of the noise left in the estimates at each level, and their largest error, relative to the noise."""

LITTLE_NOISE = 0.2
"""Noise of a bridge below which it has these levels only next to its source."""

MOST_SIDE = 128
MARKS = 4
TOLERANCE = 0.01
"""Largest difference from a fingerprint. Half precision causes a tenth of it, another attention order ten times it."""


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """The result of a self-check.

    figures: by name and noise level. fingerprint: of the estimates. faults: sentences on figures out of their limits.
    fatal: a fault that is certain, "" for none.
    """

    figures: dict[str, float]
    fingerprint: tuple[float, ...]
    faults: tuple[str, ...]
    fatal: str = ""


def known_images(size: int) -> tuple[Tensor, Tensor]:
    """Return outlines and filled shapes (1, 3, size, size), -1..1: a ring of two colours next to a bar, on white."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    radius = ((x + 0.2) ** 2 + (y + 0.1) ** 2).sqrt()
    bar = torch.maximum((x - 0.72).abs() / 0.12, (y - 0.1).abs() / 0.6)
    line = 2.5 / size
    edges = [(radius - 0.62).abs() < line, (radius - 0.25).abs() < line, (bar - 1).abs() < line / 0.3]
    outlines = torch.where(torch.stack(edges).any(0), -1.0, 1.0).expand(3, -1, -1)
    filled = torch.ones(3, size, size)
    shapes = ((radius < 0.62, (0.9, 0.2, -0.6)), (radius < 0.25, (0.5, -0.4, -0.7)), (bar < 1, (-0.5, 0.2, 0.7)))
    for inside, colour in shapes:
        filled = torch.where(inside, torch.tensor(colour).view(3, 1, 1), filled)
    return outlines[None].contiguous(), filled[None]


def self_check(model: TranslationModel, recorded: Sequence[float] = ()) -> SelfCheck:
    """Denoise the known images, with a network evaluation for each level and draw.

    Args:
        recorded: the fingerprint of the correct model, if there is one.
    """
    source, target = known_images(_side(model))
    if model.card.inpainting:
        source = _with_a_hole(target)
    source, target = (model.codec.encode(each.to(model.device)).cpu() for each in (source, target))
    largest = max(1.0, float(target.abs().max()))
    draws, projections = NoiseSource(0, ["first", "second"])(target.expand(2, -1, -1, -1)), _projections(target)
    figures: dict[str, float] = {}
    marks: list[float] = []
    faults: list[str] = []
    fatal = ""
    for level, noise_left, error in zip(LEVELS, NOISE_LEFT, ERROR, strict=True):
        # One image at a time, because a large one takes as much memory as the weights.
        estimate = torch.cat([_estimate(model, target, source, eps[None], level) for eps in draws])
        if not estimate.isfinite().all():
            fatal = f"its estimate at noise {level} contains NaN or infinity"
            break
        found = {
            "range": (float(estimate.abs().flatten().kthvalue(int(0.999 * estimate.numel())).values), RANGE * largest),
            "noise left": (float((estimate[0] - estimate[1]).square().mean().sqrt()) / level / 2**0.5, noise_left),
            "error": (float((estimate - target).square().mean().sqrt()) / level, error),
        }
        figures |= {f"{name} at {level}": round(value, 4) for name, (value, _) in found.items()}
        faults += [
            f"at noise {level} the {name} is {value:.2f}; for most models it is below {most}"
            for name, (value, most) in found.items()
            if value > most
        ]
        marks += [float(estimate[0].mean()), float(estimate[0].std()), *(projections @ estimate[0].flatten()).tolist()]
    if recorded and not fatal and (len(recorded) != len(marks) or max(map(_apart, recorded, marks)) > TOLERANCE):
        fatal = fatal or "its estimates differ from those in the registry: a different card, or different weights"
    fingerprint = tuple(round(mark, 4) for mark in marks)
    return SelfCheck(figures=figures, fingerprint=fingerprint, faults=tuple(faults), fatal=fatal)


def check_file(path: Path, recorded: Sequence[float] = (), *, name: str = "") -> SelfCheck:
    """Run the self-check of the model in a file, on the CPU; of a model with two directions, of both.

    name: the name of the file in errors; its own if not given.

    Raises:
        ModelError: the estimates contain NaN or infinity, or differ from the recorded ones.
    """
    how: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "name": name, "packed": False}
    model = load_file(path, **how)
    found = self_check(model, recorded)
    if model.direction and not found.fatal:
        back = self_check(load_file(path, **how, direction=DIRECTIONS[1]))
        figures = found.figures | {f"{DIRECTIONS[1]} {figure}": value for figure, value in back.figures.items()}
        faults = (*found.faults, *(f"{DIRECTIONS[1]}: {fault}" for fault in back.faults))
        found = replace(found, figures=figures, faults=faults, fatal=back.fatal)
    if found.fatal:
        raise ModelError(
            f"{name or path}: the self-check failed: {found.fatal}", hint="see: ddbm weights import --help"
        )
    return found


def _with_a_hole(image: Tensor) -> Tensor:
    """Return an image (1, 3, S, S) whose middle, half as wide and high, is white."""
    holed, quarter = image.clone(), image.shape[-1] // 4
    holed[..., quarter:-quarter, quarter:-quarter] = 1.0
    return holed


def _side(model: TranslationModel) -> int:
    """Return the side of the known images: the model's, at most about MOST_SIDE."""
    own, multiple = model.card.preprocess, size_multiple(model.denoiser, model.codec)
    size = min(own.width, own.height)
    return size if size <= MOST_SIDE else max(multiple, MOST_SIDE - MOST_SIDE % multiple)


def _estimate(model: TranslationModel, target: Tensor, source: Tensor, eps: Tensor, level: float) -> Tensor:
    path = model.denoiser.path
    if path.noise_free or (not path.source_free and path.sigma_T < LITTLE_NOISE):  # its levels are fractions of t_max
        t = torch.tensor(path.t_max * level / (1 + level), dtype=torch.float64)
    else:
        t = path.time_at(torch.tensor(-2 * math.log(level), dtype=torch.float64))
    state = path.training_state(target, source, eps, t.expand(1))
    with torch.no_grad():
        first = Conditions(torch.zeros(len(state), dtype=torch.long) if model.classes else None)
        x0: Tensor = model.denoiser(state.to(model.device), t, source.to(model.device), first.to(model.device))
    return x0.float().cpu()


def _projections(like: Tensor) -> Tensor:
    """Return directions (MARKS, C H W) of unit length, so that projections change as much as pixels do."""
    drawn = torch.randn(MARKS, like.numel(), generator=torch.Generator().manual_seed(0))
    directions: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return directions


def _apart(first: float, second: float) -> float:
    return abs(first - second)
