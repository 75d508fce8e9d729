"""Samplers at many budgets on one model: distance to the exact solution, error, distribution and diversity.

    python -m tests.benchmarks.solvers OUT PAIRS [PAIRS ...] [-m MODEL] [--images 24] [--shift 0] [--twice 6]
                                       [--only NAME ...] [--nfe N ...]

PAIRS are folders of pairs whose held-out images are measured, one of each object, from the folders in turn. With
`--shift 1` these are other objects, for a check of what was chosen on the first ones. Each cell of the table is one
file, so that the same command resumes. Of each cell:

distance    root mean square difference to the solution of 500 evaluations with the same noise (deterministic samplers
            with a drawn start only), range -1..1, mean over images
error       mean squared error to the truth, range -1..1, mean over images
swd         sliced Wasserstein distance of the set of results to the set of truths; it depends on the number of images
diversity   root mean square difference of two draws of a source, of the first --twice images

Intervals are 95 % bootstrap intervals over images.

OUT/cells/NAME-NFE.json    a cell           OUT/solvers.md, solvers.svg    the tables and the plot
OUT/auto.json              the best sampler of each budget, which `--sampler auto` chooses (`samplers/auto.json`)
"""

import argparse
import io
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddbm_cli.foundation.files import write_bytes, write_text
from ddbm_cli.foundation.settings import spell
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.metrics.summary import interval
from ddbm_cli.models import TranslationModel, builtin_path, load_model
from ddbm_cli.samplers import NoiseSource, Plan, finish
from tests.benchmarks._solver_tables import BUDGETS, SAMPLERS, write_tables

BATCH = 16
FINE = 500
RESAMPLES = 100


def held_out(folders: Sequence[Path], count: int, shift: int) -> list[tuple[str, Path, Path]]:
    """Return name, source and target of held-out pairs, one of each object, from the folders in turn.

    They are spread over the objects; those of another shift, which is below len / count, are other objects.
    """
    found = []
    for folder in folders:
        pairs = find_pairs([folder], val_share=0.1).val
        objects = {re.sub("-1f3[b-f]", "", pair.name): pair for pair in reversed(pairs)}  # less skin tones
        found.append([objects[name] for name in sorted(objects)])
    chosen = []
    for index in range(count):
        of = found[index % len(found)]
        pair = of[(index * len(of)) // count + shift]
        chosen.append((f"{folders[index % len(found)].name}-{pair.name}", pair.source, pair.target))
    return chosen


class Bench:
    """Sources and truths (N, 3, H, W) with a model."""

    def __init__(self, model: TranslationModel, pairs: list[tuple[str, Path, Path]], twice: int, out: Path) -> None:
        self.model, self.twice, self.out = model, twice, out
        self.names = [name for name, *_ in pairs]
        files = zip(*((source, target) for _, source, target in pairs), strict=True)
        sides = ([model.card.preprocess.forward(open_picture(file))[0] for file in column] for column in files)
        self.source, self.target = (torch.stack(side) for side in sides)

    def results(self, plan: Plan, draw: int, count: int) -> Tensor:
        """Return the results (count, 3, H, W) of a draw of the noise."""
        made = []
        for first in range(0, count, BATCH):
            part = slice(first, min(first + BATCH, count))
            noise = NoiseSource(draw, self.names[part])
            made.append(finish(self.model.translate(self.source[part], noise, plan)))
        return torch.cat(made).clamp(-1, 1)

    def solution(self) -> Tensor:
        """Return the solution of 500 evaluations from drawn starts, kept in OUT."""
        file = self.out / "solution.npy"
        if not file.exists():
            plan = self.model.plan("dbmsolver", SAMPLERS["dbmsolver"].grid, nfe=FINE)
            body = io.BytesIO()
            np.save(body, self.results(plan, 0, len(self.names)).numpy())
            write_bytes(file, body.getvalue())
        return torch.from_numpy(np.load(file))

    def distance_of_sets(self, results: Tensor) -> tuple[float, float, float]:
        """Return the sliced Wasserstein distance, and its interval over resampled images."""
        random, count = np.random.default_rng(0), len(results)
        resampled = [torch.from_numpy(random.integers(0, count, count)) for _ in range(RESAMPLES)]
        values = []
        for index in [torch.arange(count), *resampled]:
            metric = SlicedWasserstein(torch.device("cpu"))
            metric.add("outputs", index, _bytes(results[index]))
            metric.add("targets", index, _bytes(self.target[index]))
            values.append(float(metric.figures()[0].value or 0.0))
        # Resampled sets repeat images, which adds a bias: the interval is that of the differences from their mean.
        spread = np.quantile(np.array(values[1:]) - np.mean(values[1:]), [0.025, 0.975])
        return values[0], values[0] + float(spread[0]), values[0] + float(spread[1])

    def cell(self, name: str, nfe: int) -> dict[str, Any]:
        """Return the figures of one sampler at one budget."""
        entry = SAMPLERS[name]
        plan = self.model.plan(entry.sampler, entry.grid, nfe=nfe)
        began = time.process_time()
        results = self.results(plan, 0, len(self.names))
        seconds = time.process_time() - began
        again = self.results(plan, 1, self.twice) if plan.draws else results[: self.twice]
        errors = (results - self.target).square().flatten(1).mean(1).double().numpy()
        differences = (again - results[: self.twice]).square().flatten(1).mean(1).sqrt().double().numpy()
        swd = self.distance_of_sets(results)
        body: dict[str, Any] = {
            "sampler": spell(plan.sampler), "grid": spell(plan.grid), "nfe": plan.nfe, "images": len(results),
            "seconds": round(seconds, 2), "error": _with_interval(errors), "swd": [round(each, 4) for each in swd],
            "diversity": _with_interval(differences),
        }  # fmt: skip
        drawn_start = plan.start.evaluations == 1
        if drawn_start and not plan.sampler.stochastic:
            far = (results - self.solution()).square().flatten(1).mean(1).sqrt().double().numpy()
            body["distance"] = _with_interval(far)
        return body


def _bytes(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round().clamp(0, 255).byte()


def _with_interval(values: np.ndarray) -> list[float]:
    return [round(each, 4) for each in (float(values.mean()), *interval(values, seed=0))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("pairs", metavar="PAIRS", type=Path, nargs="+")
    parser.add_argument("-m", "--model", type=Path, default=builtin_path())
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--shift", type=int, default=0)
    parser.add_argument("--twice", type=int, default=6)
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--nfe", metavar="N", type=int, nargs="+", choices=BUDGETS, default=BUDGETS)
    given = parser.parse_args()
    cells = given.out / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    model = load_model(given.model, device="cpu", dtype="fp32")
    bench = Bench(model, held_out(given.pairs, given.images, given.shift), given.twice, given.out)
    for nfe in given.nfe:
        for name in given.only:
            file = cells / f"{name}-{nfe}.json"
            if file.exists():
                continue
            body = bench.cell(name, nfe)
            write_text(file, json.dumps(body) + "\n")
            sys.stdout.write(f"{name} at {nfe}: {json.dumps(body)}\n")
            sys.stdout.flush()
    write_tables(given.out, model.denoiser.path.name)


if __name__ == "__main__":
    main()
