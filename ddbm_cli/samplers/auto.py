"""`--sampler auto`: the sampler of a budget, and warnings of samplers that are poor there, from a measured table.

`auto.json` is written by `python -m tests.benchmarks.auto`. For each path and budget it has the best sampler and grid,
and those with which the results are much farther from the targets' distribution, by the ratio of the distances.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.paths import PATHS, ProbabilityPath

FILE = Path(__file__).with_name("auto.json")

AUTO = "auto"
"""The name that users write."""

ELSEWHERE = {False: "multistep:order=2", True: "implicit:eta=0"}
"""The sampler on paths that are not in the table, by whether they are noise-free."""


class Choice(NamedTuple):
    """A sampler and a grid in their shell forms; grid None for the sampler's default on the path."""

    sampler: str
    grid: str | None


@cache
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = parse_json(FILE.read_bytes())
    return found


def is_measured(path: ProbabilityPath) -> bool:
    """Return whether the table has a path; it has none of plug-ins, no bridges from noise, and no ODE of I2SB."""
    kind = PATHS.get(path.name)
    return path.name in _table() and kind is type(path) and kind().noise_free == path.noise_free


def _rows(path: ProbabilityPath, nfe: int) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return the entries of the largest budget that is not above `nfe`, and of the smallest that is not below."""
    rows = {int(budget): row for budget, row in _table()[path.name].items()} if is_measured(path) else {}
    below, above = [each for each in rows if each <= nfe], [each for each in rows if each >= nfe]
    return rows[max(below)] if below else None, rows[min(above)] if above else None


def choose(path: ProbabilityPath, nfe: int) -> Choice:
    """Return the sampler and the grid for a budget."""
    row, _ = _rows(path, nfe)
    if row is None:
        return Choice(ELSEWHERE[path.noise_free], None)
    return Choice(row["sampler"], row["grid"])


def is_poor(path: ProbabilityPath, nfe: int, sampler: str, grid: str) -> bool:
    """Return whether a sampler with a grid, in their shell forms, is known to be poor at a budget or the next ones.

    What is chosen for a budget is not called poor there.
    """
    if choose(path, nfe) == (sampler, grid):
        return False
    return any(f"{sampler} {grid}" in row.get("poor", ()) for row in _rows(path, nfe) if row is not None)
