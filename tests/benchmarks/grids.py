"""The error of every sampler on every path with several grids, on pairs whose exact estimate is known.

    python -m tests.benchmarks.grids [PATH ...]

Targets are single values from four narrow Gaussians, with weights that depend on the source. The figure is the
Wasserstein distance of results to targets, averaged over bins of the source, at 10 and 20 network evaluations. The
first column is `default_grid`. About two minutes for all paths.
"""

import dataclasses
import sys

import torch
from torch import Tensor

from ddbm_cli.foundation.settings import spell
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.samplers import (
    SAMPLERS,
    Bridge,
    HybridHeun,
    Implicit,
    Karras,
    LogSNR,
    Multistep,
    Plan,
    Sampler,
    TimeGrid,
    Uniform,
    default_grid,
    default_start,
    finish,
    sample,
)

VALUES = torch.tensor([-0.9, -0.2, 0.5, 0.9], dtype=torch.float64).view(-1, 1, 1, 1, 1)
STD = 0.03
COUNT = 20_000
BUDGETS = (10, 20)
GRIDS = (Karras(), Karras(rho=3.0), Karras(rho=1.5), Uniform(), LogSNR())
MORE = (HybridHeun(churn=0.0), Implicit(eta=1.0), Multistep(order=3))


class Pairs:
    """Sources (1, 1, 1, COUNT), targets drawn for them, and the exact estimate of a target."""

    def __init__(self, path: ProbabilityPath) -> None:
        random = torch.Generator().manual_seed(0)
        uniform = torch.rand(1, 1, 1, COUNT, generator=random, dtype=torch.float64) * 2 - 1
        self.path, self.source = path, torch.zeros_like(uniform) if path.source_free else uniform
        chosen = torch.multinomial(self._weights().flatten(1).T, 1, generator=random).squeeze(1)
        self.target = VALUES.flatten()[chosen] + STD * torch.randn(COUNT, generator=random, dtype=torch.float64)

    def _weights(self) -> Tensor:
        return torch.softmax(-((VALUES - 0.8 * self.source) ** 2) / (2 * 0.5**2), 0)

    def denoise(self, x: Tensor, t: Tensor, source: Tensor) -> Tensor:
        a, b, c = self.path.coefficients(t)
        spread = b**2 * STD**2 + c**2
        if spread == 0:
            return (self._weights() * VALUES).sum(0)
        left = x - a * source - b * VALUES
        weights = torch.softmax(self._weights().log() - left**2 / (2 * spread), 0)
        return (weights * (VALUES + b * STD**2 / spread * left)).sum(0)

    def error(self, result: Tensor) -> float:
        bins, total = ((self.source.flatten() + 1) * 4).long().clamp(0, 7), 0.0
        for index in bins.unique():
            inside = bins == index
            pairs = result.flatten()[inside].sort().values - self.target[inside].sort().values
            total += float(pairs.abs().mean() * inside.double().mean())
        return total


def measure(pairs: Pairs, sampler: Sampler, grid: TimeGrid, nfe: int) -> float:
    random = torch.Generator().manual_seed(5)
    start = default_start(pairs.path, sampler)
    plan = Plan(path=pairs.path, sampler=sampler, grid=grid, start=start, steps=1).within(nfe)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=random, dtype=like.dtype)

    bridge = Bridge(pairs.path, pairs.source, noise)
    return pairs.error(finish(sample(pairs.denoise, bridge, plan.sampler, plan.start, plan.times)))


def main(names: list[str]) -> None:
    for path in (PATHS[name]() for name in names or PATHS):
        pairs = Pairs(path)
        print(f"\n{spell(path)}\n{'':32} default  " + "  ".join(f"{spell(grid)[:16]:16}" for grid in GRIDS))
        for sampler in (*(kind() for kind in SAMPLERS.values()), *MORE):
            if path.noise_free and sampler.needs_noise:
                continue
            cells = []
            for grid in (default_grid(path, sampler), *GRIDS):
                if not isinstance(grid, Karras) and grid.gap == 1e-3:
                    grid = dataclasses.replace(grid, gap=1e-3 * path.t_max)
                cells.append(" / ".join(f"{measure(pairs, sampler, grid, nfe):.3f}" for nfe in BUDGETS))
            print(f"{spell(sampler)[:30]:32} " + "  ".join(f"{cell:16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
