"""Whether a model denoises: a few calls on a known picture tell a wrong card, or wrong weights, from right ones.

Outlines stand for the source and filled shapes for the target; states on the path between them, with two draws of
noise each, go through the denoiser. What comes should be a picture in the range of pictures, nearer to the target than
the state was, with little of the noise left. These figures need no record of the model, and have wide limits. Of the
mistakes that were tried on the built-in model they tell: a wrong clock, other sigmas, a swapped concatenation, noise on
the weights or weights of no training, numbers out of float16's range, and a schedule that is far off.

A fingerprint, the estimates' means, spreads and projections on some directions, tells these and what the figures do
not: a schedule that is a little off, queries and keys in another order, the weights of another step. It must have been
recorded when all was right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.denoisers import Conditions
from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.load import load_file
from ddbm_cli.models.model import TranslationModel
from ddbm_cli.samplers import NoiseSource

LEVELS = (0.2, 0.7, 2.0)
"""Noise levels c / b of the states."""

RANGE = 1.4
"""All but a thousandth of an estimate's numbers stay within this."""

NOISE_LEFT = (0.4, 0.4, 0.12)
ERROR = (0.75, 0.75, 0.3)
"""Share of the noise that may be left in the estimates at each level, and their error, relative to the noise."""

MOST_SIDE = 128
MARKS = 4
TOLERANCE = 0.01
"""Largest difference to a fingerprint; half precision makes a tenth of it, another order of attention ten times it."""


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What was found.

    figures: by name and noise level. fingerprint: of the estimates. faults: what is out of its limits, in words.
    fatal: what is wrong beyond doubt, "" for nothing.
    """

    figures: dict[str, float]
    fingerprint: tuple[float, ...]
    faults: tuple[str, ...]
    fatal: str = ""


def known_pictures(size: int) -> tuple[Tensor, Tensor]:
    """Return outlines and filled shapes (1, 3, size, size), -1..1: a ring of two colours beside a bar, on white."""
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
    """Look at what a model makes of the known pictures, with a call for each level and draw.

    Args:
        recorded: the fingerprint that it had when all was right, if there is one.
    """
    source, target = known_pictures(_side(model))
    if model.card.inpainting:
        source = _with_a_hole(target)
    draws, projections = NoiseSource(0, ["first", "second"])(target.expand(2, -1, -1, -1)), _projections(target)
    figures: dict[str, float] = {}
    marks: list[float] = []
    faults: list[str] = []
    fatal = ""
    for level, noise_left, error in zip(LEVELS, NOISE_LEFT, ERROR, strict=True):
        # One picture after the other, for a large one takes as much memory as the weights.
        estimate = torch.cat([_estimate(model, target, source, eps[None], level) for eps in draws])
        if not estimate.isfinite().all():
            fatal = f"at noise {level} its numbers are not finite"
            break
        found = {
            "range": (float(estimate.abs().flatten().kthvalue(int(0.999 * estimate.numel())).values), RANGE),
            "noise left": (float((estimate[0] - estimate[1]).square().mean().sqrt()) / level / 2**0.5, noise_left),
            "error": (float((estimate - target).square().mean().sqrt()) / level, error),
        }
        figures |= {f"{name} at {level}": round(value, 4) for name, (value, _) in found.items()}
        faults += [
            f"at noise {level} the {name} is {value:.2f}, of most models below {most}"
            for name, (value, most) in found.items()
            if value > most
        ]
        marks += [float(estimate[0].mean()), float(estimate[0].std()), *(projections @ estimate[0].flatten()).tolist()]
    if recorded and not fatal and (len(recorded) != len(marks) or max(map(_apart, recorded, marks)) > TOLERANCE):
        fatal = fatal or "its estimates are not those that the registry recorded: another card, or other weights"
    fingerprint = tuple(round(mark, 4) for mark in marks)
    return SelfCheck(figures=figures, fingerprint=fingerprint, faults=tuple(faults), fatal=fatal)


def check_file(path: Path, recorded: Sequence[float] = (), *, name: str = "") -> SelfCheck:
    """Run the self-check of the model in a file, on the CPU.

    name: the name of the file in errors; its own if not given.

    Raises:
        ModelError: the estimates contain NaN or infinity, or differ from the recorded ones.
    """
    found = self_check(load_file(path, device="cpu", dtype="fp32", name=name), recorded)
    if found.fatal:
        raise ModelError(f"{name or path}: the self-check failed: {found.fatal}", hint="see: ddbm weights import --help")
    return found


def _with_a_hole(picture: Tensor) -> Tensor:
    """Return a picture (1, 3, S, S) whose middle, half as wide and high, is white."""
    holed, quarter = picture.clone(), picture.shape[-1] // 4
    holed[..., quarter:-quarter, quarter:-quarter] = 1.0
    return holed


def _side(model: TranslationModel) -> int:
    """Return the side of the pictures: the model's own, or less where that is large."""
    own, multiple = model.card.preprocess, int(getattr(model.denoiser.network, "size_multiple", 1))
    size = min(own.width, own.height)
    return size if size <= MOST_SIDE else max(multiple, MOST_SIDE - MOST_SIDE % multiple)


def _estimate(model: TranslationModel, target: Tensor, source: Tensor, eps: Tensor, level: float) -> Tensor:
    path = model.denoiser.path
    if path.noise_free:  # its levels are shares of the way
        t = torch.tensor(path.t_max * level / (1 + level), dtype=torch.float64)
    else:
        t = path.time_at(torch.tensor(-2 * math.log(level), dtype=torch.float64))
    state = path.training_state(target, source, eps, t.expand(1))
    with torch.no_grad():
        first = Conditions(torch.zeros(len(state), dtype=torch.long) if model.classes else None)
        x0: Tensor = model.denoiser(state.to(model.device), t, source.to(model.device), first.to(model.device))
    return x0.float().cpu()


def _projections(like: Tensor) -> Tensor:
    """Return directions (MARKS, C H W) of unit length, so that a projection moves as far as a pixel does."""
    drawn = torch.randn(MARKS, like.numel(), generator=torch.Generator().manual_seed(0))
    directions: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return directions


def _apart(first: float, second: float) -> float:
    return abs(first - second)
