"""Measure a distilled model and its teacher on held-out pairs, write the scores into its card, and package it.

    python -m tests.recipes.ship_fast RUN/model.safetensors PAIRS

The figures are those of `tests.benchmarks.fast`, of all held-out pairs with two draws each.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.checkpoint import read_model
from tests.benchmarks.fast import Scores, measure
from tests.recipes.ship import ASSETS, register

TEACHER_NFE = 20
NAME = "sketch-to-3d-64-fast"


def rounded(scores: Scores) -> dict[str, float]:
    """Return scores as a card holds them."""
    return {name: round(value, 4) for name, value in scores.items()}


def ship(file: Path, pairs: Path, *, count: int, draws: int) -> None:
    """Measure the model and its teacher, and write the model with its scores into the package."""
    model = load_model(file, device="cpu")
    teacher = load_model(model.card.training["teacher"], device="cpu")
    found: dict[str, dict[str, object]] = {}
    every = (("nfe_2", model, model.plan()), (f"teacher_nfe_{TEACHER_NFE}", teacher, teacher.plan(nfe=TEACHER_NFE)))
    for key, which, plan in every:
        for style, scores in measure(which, plan, pairs, count=count, draws=draws):
            found.setdefault(style, {"pictures": count})[key] = rounded(scores)
            sys.stdout.write(f"{which.name} {style} {rounded(scores)}\n")
    card, weights = read_model(file)
    write_model(ASSETS / f"{NAME}.safetensors", dataclasses.replace(card, scores=found), weights)
    register(ASSETS / f"{NAME}.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--count", type=int, default=174, help="held-out pairs of each style")
    parser.add_argument("--draws", type=int, default=2)
    given = parser.parse_args()
    ship(given.file, given.pairs, count=given.count, draws=given.draws)
