"""`--sampler auto`: the sampler of a budget, and warnings of samplers that are poor there, from a measured table.

`auto.json` is written by `python -m tests.benchmarks.auto`. For each path and budget it has the best sampler and grid,
and those with which the results are much farther from the targets' distribution, by the ratio of the distances.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ddbm_cli.foundation.documents import parse_json
from ddbm_cli.paths import ProbabilityPath

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


def _row(path: ProbabilityPath, nfe: int) -> Mapping[str, Any] | None:
    """Return the entry of the largest budget of the table that is not above `nfe`."""
    budgets = [int(each) for each in _table().get(path.name, ()) if int(each) <= nfe]
    return _table()[path.name][str(max(budgets))] if budgets else None


def choose(path: ProbabilityPath, nfe: int) -> Choice:
    """Return the sampler and the grid for a budget."""
    row = _row(path, nfe)
    if row is None:
        return Choice(ELSEWHERE[path.noise_free], None)
    return Choice(row["sampler"], row["grid"])


def is_poor(path: ProbabilityPath, nfe: int, sampler: str, grid: str) -> bool:
    """Return whether a sampler with a grid, in their shell forms, is known to be poor at a budget."""
    row = _row(path, nfe)
    return row is not None and f"{sampler} {grid}" in row.get("poor", ())
