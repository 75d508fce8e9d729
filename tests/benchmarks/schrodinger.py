"""Schrödinger bridges between sets of points against closed forms and published figures, in one table.

    python -m tests.benchmarks.schrodinger [--steps 20000] [--rounds 20] [--only gaussian|sets] [--dimensions 5,20,50]
        [--methods IMF,IPF,DSB] [--results FILE.json]

With --results a finished case is written to the file, and not trained again by the next command. A step has points of
both directions, so --steps 200000 is the published budget: about half an hour of a core for each Gaussian case.

The points are trained with the couplings, the objective and the loop of `ddbm train --task schrodinger --networks two`,
and with the published test's networks (two of 256 and 256 units), 20 steps of simulation and 10,000 points.

Gaussian: from N(0.1, I) to N(-0.1, I), Brownian reference of variance 1. Of 10,000 new points and their results: the
variance, and the covariance of both, averaged over dimensions; best are 1 and (sqrt(5) - 1) / 2. KL is that of normal
distributions with the results' means and variances, against the target, summed over dimensions; of 10,000 exact draws
it is d / 10,000. The published KL is printed beside it; its paper does not state how it was estimated.

Sets: W2 of 1,000 results and 1,000 new points, next to that of two sets of new points. The published figures are of
more points, and their sets may be scaled differently.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ddbm_cli.foundation.files import write_text
from ddbm_cli.paths import BrownianBridge
from ddbm_cli.training.couplings import Rounds, Simulation
from ddbm_cli.training.first_couplings import Draws, FromReference, Independent
from tests.points import trained

POINTS, TESTED = 10_000, 1_000
BATCH, STEPS = 256, 20
PUBLISHED_KL = {
    "IMF": {5: 1.34, 20: 5.05, 50: 9.76},
    "IPF": {5: 1.23, 20: 4.42, 50: 8.75},
    "DSB": {5: 3.26, 20: 13.0, 50: 32.8},
}
"""DSBM arXiv:2303.16852, KL x 1000."""

PUBLISHED_W2 = {"moons": 0.140, "s-curve": 0.140, "8 Gaussians": 0.315, "moons to 8 Gaussians": 0.812}
PUBLISHED_W2_DSB = {"moons": 0.190, "s-curve": 0.272, "8 Gaussians": 0.411, "moons to 8 Gaussians": 0.987}
"""DSBM arXiv:2303.16852: DSBM-IPF, and DSB."""

METHODS: dict[str, dict[str, Any]] = {
    "IMF": {"first": Independent()},
    "IPF": {"first": FromReference()},
    "DSB": {"matching": "mean"},
}
BEST = (math.sqrt(5) - 1) / 2


def rounds_of(steps: int, rounds: int) -> Rounds:
    """Return rounds of equal lengths, with one set of pairs each."""
    each = max(1, steps // rounds)
    return Rounds(first=each, each=each, batches=max(1, POINTS * 2 // BATCH))


def results(simulation: Simulation, points: Tensor, direction: int) -> Tensor:
    """Return where trajectories from points (N, d) end."""
    draws = Draws(torch.Generator().manual_seed(1), len(points), slice(0, len(points)))
    return simulation(points[:, :, None, None], direction, draws)[:, :, 0, 0]


def gaussian(dimension: int, name: str, steps: int, rounds: int) -> dict[str, float]:
    """Train between two Gaussian sets, and return the figures of the results."""
    random = torch.Generator().manual_seed(dimension)
    first, second = (torch.randn(POINTS, dimension, generator=random) + mean for mean in (-0.1, 0.1))
    with tempfile.TemporaryDirectory() as folder:
        path = BrownianBridge(variance=0.5)  # of the end, without the factor 2 of BBDM: 1
        made = trained(
            [first, second], path, Path(folder), rounds=rounds_of(steps, rounds), steps=steps, size=BATCH,
            simulation_steps=STEPS, **METHODS[name],
        )  # fmt: skip
    source = torch.randn(POINTS, dimension, generator=random) + 0.1
    result = results(made, source, 1)
    mean, variance = result.double().mean(0), result.double().var(0)
    kl = 0.5 * (variance + (mean + 0.1) ** 2 - 1 - variance.log()).sum()
    covariance = ((source - source.mean(0)) * (result - result.mean(0))).mean()
    return {"kl": 1000 * float(kl), "variance": float(variance.mean()), "covariance": float(covariance)}


def moons(count: int, random: torch.Generator) -> Tensor:
    """Two half circles."""
    angle = torch.rand(count, generator=random) * math.pi
    upper = torch.rand(count, generator=random) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return (torch.stack([x, y], 1) + 0.2 * torch.randn(count, 2, generator=random)) * 3 - 1


def s_curve(count: int, random: torch.Generator) -> Tensor:
    """A curve in the shape of an S."""
    angle = 3 * math.pi * (torch.rand(count, generator=random) - 0.5)
    points = torch.stack([angle.sin(), angle.sign() * (angle.cos() - 1)], 1)
    return (points + 0.1 * torch.randn(count, 2, generator=random)) * 1.5


def eight(count: int, random: torch.Generator) -> Tensor:
    """Eight Gaussian distributions on a circle of radius 5, of variance 0.1."""
    angle = torch.randint(0, 8, (count,), generator=random) * (math.pi / 4)
    return 5 * torch.stack([angle.cos(), angle.sin()], 1) + 0.1**0.5 * torch.randn(count, 2, generator=random)


def normal(count: int, random: torch.Generator) -> Tensor:
    """A standard normal distribution."""
    return torch.randn(count, 2, generator=random)


SETS: dict[str, tuple[Callable[[int, torch.Generator], Tensor], Callable[[int, torch.Generator], Tensor]]] = {
    "moons": (normal, moons),
    "s-curve": (normal, s_curve),
    "8 Gaussians": (normal, eight),
    "moons to 8 Gaussians": (moons, eight),
}


def w2(first: Tensor, second: Tensor) -> float:
    """Return the Wasserstein-2 distance of two sets of as many points (N, d)."""
    cost = torch.cdist(first.double(), second.double()).square().numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(np.sqrt(cost[rows, columns].mean()))


def plane(name: str, first: str, steps: int, rounds: int) -> dict[str, float]:
    """Train between two sets in the plane, and return the distance of results to new points."""
    random = torch.Generator().manual_seed(7)
    begin, end = SETS[name]
    sets = [draw(POINTS, random) for draw in (begin, end)]
    with tempfile.TemporaryDirectory() as folder:
        made = trained(
            sets, BrownianBridge(variance=0.5), Path(folder), rounds=rounds_of(steps, rounds), steps=steps, size=BATCH,
            simulation_steps=STEPS, **METHODS[first],
        )  # fmt: skip
    found = results(made, begin(TESTED, random), 0)
    return {"w2": w2(found, end(TESTED, random)), "floor": w2(end(TESTED, random), end(TESTED, random))}


def gaussian_line(name: str, dimension: int, row: Mapping[str, float]) -> str:
    """Return a case of `gaussian` in words, beside the published figure."""
    published = PUBLISHED_KL[name].get(dimension, math.nan)
    return (
        f"Gaussian d={dimension:<3} {name}  KL x 1000 {row['kl']:7.2f} (published {published}; exact draws "
        f"{dimension / 10:g})  variance {row['variance']:.3f} (1)  covariance {row['covariance']:.3f} ({BEST:.3f})"
    )


def plane_line(name: str, chosen: str, row: Mapping[str, float]) -> str:
    """Return a case of `plane` in words, beside the published figures."""
    return (
        f"{chosen:<22} {name}  W2 {row['w2']:.3f} (two true sets {row['floor']:.3f}; published "
        f"DSBM-IPF {PUBLISHED_W2[chosen]}, DSB {PUBLISHED_W2_DSB[chosen]})"
    )


class Results:
    """Figures of finished cases, in a file if one is given."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, dict[str, float]] = json.loads(file.read_text()) if file and file.exists() else {}

    def of(self, case: str, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the figures of a case; compute and keep them if they are not known."""
        if case not in self._known:
            self._known[case] = compute()
            if self._file:
                write_text(self._file, json.dumps(self._known, indent=1) + "\n")
        return self._known[case]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", choices=["gaussian", "sets"])
    parser.add_argument("--dimensions", default="5,20,50")
    parser.add_argument("--methods", default="IMF,IPF,DSB")
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results, budget = Results(given.results), (given.steps, given.rounds)
    lines = [f"{given.steps} steps of {BATCH} in {given.rounds} rounds; published: 400,000 of 128, one direction each"]
    for name in given.methods.split(","):
        for dimension in map(int, given.dimensions.split(",")) if given.only != "sets" else ():
            row = results.of(f"{name} {dimension} {budget}", partial(gaussian, dimension, name, *budget))
            lines.append(gaussian_line(name, dimension, row))
            print(lines[-1], flush=True)
        for chosen in SETS if given.only != "gaussian" else ():
            row = results.of(f"{name} {chosen} {budget}", partial(plane, chosen, name, *budget))
            lines.append(plane_line(name, chosen, row))
            print(lines[-1], flush=True)
    print("\n".join(["", *lines]))


if __name__ == "__main__":
    main()
