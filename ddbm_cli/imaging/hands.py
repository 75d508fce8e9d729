"""How a hand draws lines: thinner or thicker, with gaps, or a little beside the right place.

plain    as they are found
thin     by a pen of half the width
thick    by a pen of twice the width
broken   with gaps, where a smooth random field is high
wavy     moved by a smooth random field, as by an unsteady hand
varied   one of these, each as likely, and each as strong as chance has it
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hand = Literal["plain", "thin", "thick", "broken", "wavy", "varied"]
HANDS: tuple[Hand, ...] = get_args(Hand)

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.signedinteger[Any]]

GAPS = 0.22
"""Fraction of the paper on which a hand of strength 1 draws no lines."""

SWAY = 0.012
"""Standard deviation of the places that a hand of strength 1 misses, as a fraction of the paper's side."""

CELLS = 12
"""The fields vary over about this fraction of the paper's side: 1 / CELLS."""


@dataclass(frozen=True)
class Strokes:
    """What a hand does to lines.

    width: factor of the pen's width. gaps: fraction of the paper without lines, 0..1.
    sway: by how much places are missed, as a fraction of the paper's side.
    """

    width: float = 1.0
    gaps: float = 0.0
    sway: float = 0.0

    def moved(
        self, rows: Integers, columns: Integers, side: int, rng: np.random.Generator
    ) -> tuple[Integers, Integers]:
        """Return places (N,) on a paper of `side` pixels, missed by the hand."""
        if not self.sway:
            return rows, columns
        down, across = (
            np.rint(places + _field(side, rng)[rows, columns] * self.sway * side).astype(np.intp).clip(1, side - 2)
            for places in (rows, columns)
        )
        return down, across

    def drawn(self, rows: Integers, columns: Integers, side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return which places (N,) are drawn at all."""
        if not self.gaps:
            return np.ones(len(rows), dtype=np.bool_)
        field = _field(side, rng)
        kept: NDArray[np.bool_] = field[rows, columns] <= np.quantile(field, 1 - self.gaps)
        return kept


def strokes_of(hand: Hand, strength: float, rng: np.random.Generator) -> Strokes:
    """Return what a hand does.

    Args:
        hand: see the module. strength: 0 for nothing, 1 as described, up to 2.
        rng: chooses for "varied".
    """
    if hand == "varied":
        hand = HANDS[int(rng.integers(len(HANDS) - 1))]
        strength *= float(rng.uniform(0.3, 1.3))
    if hand in ("thin", "thick"):
        return Strokes(width=2.0 ** (strength if hand == "thick" else -strength))
    if hand == "broken":
        return Strokes(gaps=min(0.9, GAPS * strength))
    return Strokes(sway=SWAY * strength) if hand == "wavy" else Strokes()


def _field(side: int, rng: np.random.Generator) -> Floats:
    """Return a smooth random field (side, side), mean 0 and standard deviation 1."""
    coarse = Image.fromarray(rng.standard_normal((CELLS, CELLS)).astype(np.float32))
    field = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    smooth: Floats = (field - field.mean()) / max(float(field.std()), 1e-6)
    return smooth
