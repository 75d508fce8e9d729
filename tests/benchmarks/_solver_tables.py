"""The tables, the plot and the choices that `tests.benchmarks.solvers` makes from its cells."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddbm_cli.foundation.files import write_text
from tests.benchmarks._solver_plot import svg

BUDGETS = (1, 2, 4, 6, 10, 20, 50, 119)

ENOUGH = 20
"""From this budget on no sampler is called poor."""

CONVERGED = 10
"""From this budget on the sampler that is nearest to the solution is chosen, below it that with the smallest error."""

POOR = 1.5
"""Ratio to the smallest distance above which a sampler is called poor."""

Cell = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row: label, sampler and grid as on the command line (None: the default for the path)."""

    label: str
    sampler: str | None
    grid: str | None = None


SAMPLERS = {
    "hybrid": Entry("hybrid Heun, churn 0.33", "heun:churn=0.33"),
    "ode": Entry("Heun's ODE", "heun:churn=0"),
    "card": Entry("DBIM eta 1, grid of the card", None),
    "dbim": Entry("DBIM eta 0, grid of the card", "dbim"),
    "dbim-uniform": Entry("DBIM eta 0", "dbim", "uniform"),
    "dbim-eta-1": Entry("DBIM eta 1", "dbim:eta=1", "uniform"),
    "dbim-2": Entry("DBIM-2", "dbim-2"),
    "dbim-3": Entry("DBIM-3", "dbim-3"),
    "lambda": Entry("multistep in lambda", "multistep:variable=lambda"),
    "lambda-uniform": Entry("multistep in lambda, uniform grid", "multistep:variable=lambda", "uniform"),
    "lambda-card": Entry("multistep in lambda, grid of the card", "multistep:variable=lambda", "timesteps"),
    "dbmsolver": Entry("DBMSolver, Karras rho 3", "dbmsolver", "karras:rho=3"),
    "lambda-log-snr": Entry("multistep in lambda, log-SNR grid", "multistep:variable=lambda", "log-snr"),
    "dbmsolver-log-snr": Entry("DBMSolver, log-SNR grid", "dbmsolver", "log-snr"),
    "dbmsolver-7": Entry("DBMSolver, Karras rho 7", "dbmsolver", "karras:rho=7"),
    "dbmsolver-uniform": Entry("DBMSolver, uniform grid", "dbmsolver:middle=time", "uniform"),
    "ecsi": Entry("ECSI, eta 1", "ecsi:eta=1"),
    "ecsi-0.3": Entry("ECSI, eta 0.3", "ecsi:eta=0.3"),
    "booted-heun": Entry("booted Heun", "booted-heun"),
    "euler": Entry("Euler's ODE", "euler"),
    "sde": Entry("Euler-Maruyama", "sde"),
    "pc": Entry("predictor-corrector", "pc"),
}  # fmt: skip

MEASURES = (
    ("distance", "Distance to the solution of 500 evaluations with the same noise", 3),
    ("error", "Mean squared error to the truth", 4),
    ("swd", "Sliced Wasserstein distance of the set of results to the set of truths", 3),
    ("diversity", "Difference of two draws of a source", 3),
)


def read_cells(out: Path) -> dict[str, dict[int, Cell]]:
    """Return the cells that are measured: row -> budget -> cell."""
    found: dict[str, dict[int, Cell]] = {}
    for name in SAMPLERS:
        for nfe in BUDGETS:
            file = out / "cells" / f"{name}-{nfe}.json"
            if file.exists():
                found.setdefault(name, {})[nfe] = json.loads(file.read_text())
    return found


def tables(cells: dict[str, dict[int, Cell]]) -> Iterator[str]:
    """Yield the lines of all tables, as Markdown; the smallest value of a column is bold."""
    for measure, title, digits in MEASURES:
        rows = {name: row for name, row in cells.items() if any(measure in cell for cell in row.values())}
        yield from (f"## {title}", "")
        yield f"| sampler | {' | '.join(map(str, BUDGETS))} |"
        yield f"|---|{'--:|' * len(BUDGETS)}"
        best = {nfe: min((row[nfe][measure][0] for row in rows.values() if measure in row.get(nfe, {})), default=None)
                for nfe in BUDGETS}  # fmt: skip
        for name, row in rows.items():
            shown = []
            for nfe in BUDGETS:
                value = row.get(nfe, {}).get(measure)
                if value is None:
                    shown.append("")
                    continue
                half = (value[2] - value[1]) / 2
                text = f"{value[0]:.{digits}f}"
                bold = value[0] == best[nfe] and measure != "diversity"
                shown.append(f"{'**' if bold else ''}{text}{'**' if bold else ''} ±{half:.{digits}f}")
            yield f"| {SAMPLERS[name].label} | {' | '.join(shown)} |"
        yield ""


def choices(cells: dict[str, dict[int, Cell]]) -> dict[str, dict[str, Any]]:
    """Return for each budget the best sampler and grid, and those that are poor.

    The best is one of those whose sliced Wasserstein distance cannot be told from the smallest one: their 95 %
    intervals overlap. The distance alone prefers results with left-over noise, which is like variety to it. Of these,
    it is that with the smallest error at budgets below `CONVERGED`, and from there on the one nearest to the solution
    of many evaluations: the smallest error is that of results which are averages. Samplers with one result per source
    are not chosen, nor is predictor-corrector, which does not converge to the bridge.
    """
    made: dict[str, dict[str, Any]] = {}
    for nfe in BUDGETS[1:]:
        column = [row[nfe] for row in cells.values() if nfe in row and row[nfe]["nfe"] <= nfe]
        if column:
            least, _, highest = min((cell["swd"] for cell in column), key=lambda each: each[0])
            near = [cell for cell in column if cell["swd"][1] <= highest and _may_be_chosen(cell)]
            solved = [cell for cell in near if nfe >= CONVERGED and "distance" in cell]
            best = min(solved or near, key=lambda each: each["distance" if solved else "error"][0])
            limit = POOR * least if nfe < ENOUGH else float("inf")
            poor = {f"{cell['sampler']} {cell['grid']}" for cell in column if cell["swd"][0] > limit}
            made[str(nfe)] = {"sampler": best["sampler"], "grid": best["grid"], "poor": sorted(poor)}
    return made


def _may_be_chosen(cell: Cell) -> bool:
    return bool(cell["diversity"][0] > 0) and not cell["sampler"].startswith("predictor-corrector")


def write_tables(out: Path, path: str) -> None:
    """Write what OUT's cells give: tables, plot and choices."""
    cells = read_cells(out)
    write_text(out / "solvers.svg", svg(cells, {name: entry.label for name, entry in SAMPLERS.items()}))
    write_text(out / "solvers.md", "\n".join(tables(cells)))
    write_text(out / "auto.json", json.dumps({path: choices(cells)}, indent=1) + "\n")
