"""Make the table of `--sampler auto`, `ddbm_cli/samplers/auto.json`.

    python -m tests.benchmarks.auto [OUT/auto.json ...]

All samplers are measured on all paths on pairs whose estimates are exact (`tests.benchmarks.grids`), with their default
grids; half a minute. Files that `tests.benchmarks.solvers` has written, from images, replace the budgets they have.
A sampler is poor at a budget if its distance is more than 1.5 times (images) or 5 times (exact pairs) the smallest one.
"""

import json
import sys
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.paths import PATHS, ProbabilityPath
from ddbm_cli.samplers import SAMPLERS, Plan, Sampler, default_grid, default_start
from ddbm_cli.samplers.auto import FILE
from tests.benchmarks import grids
from tests.benchmarks._solver_tables import BUDGETS, ENOUGH

CHOSEN = (
    *("implicit:eta=0.0", "multistep:order=2", "multistep:order=3", "multistep:variable=lambda", "dbmsolver"),
    *("heun:churn=0.0", "euler"),
)
OTHERS = ("implicit:eta=1.0", "ecsi", "booted-heun", "heun:churn=0.33", "euler-maruyama")
"""Never chosen: what they leave of noise at small budgets is like variety for the distance of single values."""

FAR = 5.0
"""Ratio to the smallest distance above which a sampler is called poor: single values tell samplers apart by more."""


def _made(spec: str) -> Sampler:
    return build(SAMPLERS, spec, what="sampler")


def draws(path: ProbabilityPath, sampler: Sampler) -> bool:
    """Return whether a source has more than one result, where the path has noise for that."""
    return path.noise_free or path.source_free or default_start(path, sampler).evaluations > 0


def measure(path: ProbabilityPath, pairs: grids.Pairs, nfe: int) -> dict[tuple[str, str], float]:
    """Return the distance of every sampler that meets the budget, by its shell form and its grid's."""
    found = {}
    for spec in (*CHOSEN, *OTHERS):
        sampler = _made(spec)
        grid = default_grid(path, sampler)
        try:
            plan = Plan(path=path, sampler=sampler, grid=grid, start=default_start(path, sampler), steps=1).within(nfe)
        except UsageError:
            continue
        if plan.sampler.name == sampler.name and plan.nfe <= nfe:
            found[spell(plan.sampler), spell(plan.grid)] = grids.measure(pairs, sampler, grid, nfe)
    return found


def main(files: list[Path]) -> None:
    grids.COUNT = 8000
    table: dict[str, dict[str, Any]] = {}
    for path in (kind() for kind in PATHS.values()):
        pairs = grids.Pairs(path)
        for nfe in BUDGETS[1:]:
            found = measure(path, pairs, nfe)
            names = {spell(sampler.planned()) for sampler in map(_made, CHOSEN) if draws(path, sampler)}
            sampler, grid = min((each for each in found if each[0] in names), key=lambda each: found[each])
            limit = FAR * found[sampler, grid] if nfe < ENOUGH else float("inf")
            poor = sorted(" ".join(each) for each, value in found.items() if value > limit)
            table.setdefault(path.name, {})[str(nfe)] = {"sampler": sampler, "grid": grid, "poor": poor}
    for file in files:
        for name, rows in json.loads(file.read_text()).items():
            table[name] |= rows
    write_text(FILE, json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
