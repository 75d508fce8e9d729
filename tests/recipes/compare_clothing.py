"""Compare models from sketches to garments on held-out pairs: a table of figures, and grids of 24 that nobody picked.

    python -m tests.recipes.compare_clothing PAIRS OUT MODEL.safetensors ...

PAIRS has folders of pairs in several styles, with val/A and val/B. Results are kept, so the same command resumes an
interrupted one. OUT gets `table.md`, `sketches.png` (each sketch with the result of the first model), `models.png`
(with the results of all), and `truth.png` (with the photographs too, which stay outside the repository).
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.foundation.files import write_bytes
from ddbm_cli.imaging.io import open_picture, save_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import TranslationModel, load_model
from ddbm_cli.networks.perceptual import load_perceptual_distance
from ddbm_cli.samplers import NoiseSource, finish
from tests.recipes.measure_instruct import translated
from tests.recipes.ship import evenly

SIDE, BATCH = 256, 16

SHOWN, SHOWN_SIDE, ACROSS = 24, 144, 12
"""Of the grids: sketches, pixels of an image, and images in a row."""

Scores = dict[str, dict[str, float]]
"""Figures of a model by style of sketches."""


def read(files: Sequence[Path], side: int = SIDE) -> Tensor:
    """Return images (N, 3, side, side)."""
    preprocess = Preprocess(size=side)
    return torch.stack([preprocess.forward(open_picture(file))[0] for file in files])


def seconds_of(model: TranslationModel, nfe: int | None) -> float:
    """Return the time of one image, the shortest of three."""
    own = model.card.preprocess
    source = torch.ones(1, 3, own.height, own.width)
    plan, times = model.plan(nfe=nfe), []
    for _ in range(3):
        began = time.perf_counter()
        finish(model.translate(source, NoiseSource(0, ["time"]), plan))
        times.append(time.perf_counter() - began)
    return min(times)


def budgets(models: Mapping[str, TranslationModel]) -> dict[str, dict[str, int | None]]:
    """Return the settings of each model: its own, and network evaluations for the time of the first of them."""
    first = next(iter(models.values()))
    goal = seconds_of(first, None)
    found: dict[str, dict[str, int | None]] = {}
    for name, model in models.items():
        found[name] = {"own": None}
        if model is not first and model.plan().nfe > 1:
            one, two = seconds_of(model, 2), seconds_of(model, 4)
            each = max((two - one) / 2, 1e-6)
            found[name]["equal seconds"] = max(2, round(2 + (goal - one) / each))
    return found


def figures(results: Sequence[Path], targets: Sequence[Path]) -> dict[str, float]:
    """Return how near results are to their photographs at 256 pixels.

    `mse`, `perceptual` and `ground` are means over all images; the ground is what is white in the photograph, and its
    figure the squared error there. `swd` is the sliced Wasserstein distance of all results to all photographs, which
    has no reward for the average of possible results.
    """
    distance, sets = load_perceptual_distance(torch.device("cpu")), SlicedWasserstein(torch.device("cpu"))
    sums = torch.zeros(3, dtype=torch.float64)
    for first in range(0, len(targets), BATCH):
        made, wanted = (read(files[first : first + BATCH]) for files in (results, targets))
        error = (made - wanted).square()
        white = (wanted > 0.97).all(1, keepdim=True).expand_as(error)
        ground = (error * white).flatten(1).sum(1) / white.flatten(1).sum(1).clamp(min=1)
        with torch.no_grad():
            near = distance(made, wanted)
        sums += torch.stack([error.flatten(1).mean(1).sum(), near.sum(), ground.sum()])
        for side, images in (("outputs", made), ("targets", wanted)):
            sets.add(side, first + torch.arange(len(images)), ((images + 1) * 127.5).round().to(torch.uint8))
    means = dict(zip(("mse", "perceptual", "ground"), (sums / len(targets)).tolist(), strict=True))
    return means | {"swd": sets.figures()[0].value or 0.0}


def compare(files: Mapping[str, Path], pairs: Sequence[Path], out: Path) -> dict[str, Scores]:
    """Translate all held-out sketches with all models, and write the table and the grids.

    Returns:
        The figures of each model at its own settings, by style of sketches.
    """
    models = {name: load_model(file, device="cpu") for name, file in files.items()}
    lines = ["| model | setting | style | images | s / image | mse | perceptual | ground | swd |", f"|{'---|' * 9}"]
    shown: dict[str, list[Path]] = {}
    found: dict[str, Scores] = {name: {} for name in files}
    sketches, truths = (
        [file for folder in pairs for file in sorted((folder / "val" / side).rglob("*.png"))] for side in "AB"
    )
    for name, settings in budgets(models).items():
        for setting, nfe in settings.items():
            made: list[Path] = []
            for folder in pairs:
                place = out / "results" / f"{name} {setting}".replace(" ", "-") / folder.name
                given = {
                    "source": str(folder / "val" / "A"),
                    "output": place,
                    "model": str(files[name]),
                    "nfe": nfe,
                }
                translated(models[name], given | {"to_folder": True, "recursive": True, "keep_size": True})
                wanted = sorted((folder / "val" / "B").rglob("*.png"))
                results = [place / file.relative_to(folder / "val" / "B") for file in wanted]
                scores = figures(results, wanted)
                row = [name, setting, folder.name, str(len(wanted)), f"{seconds_of(models[name], nfe):.3f}"]
                lines.append(f"| {' | '.join([*row, *(f'{value:.4f}' for value in scores.values())])} |")
                sys.stdout.write(lines[-1] + "\n")
                made += results
                if setting == "own":
                    found[name][folder.name] = {"images": len(wanted)} | {key: round(x, 4) for key, x in scores.items()}
            if setting == "own":
                shown[name] = made
    write_bytes(out / "table.md", ("\n".join(lines) + "\n").encode())
    sides = [read(evenly(each, SHOWN), SHOWN_SIDE) for each in (sketches, *shown.values(), truths)]
    for sheet, columns in (("sketches.png", sides[:2]), ("models.png", sides[:-1]), ("truth.png", sides)):
        save_picture(contact_sheet(columns, columns=max(1, ACROSS // len(columns))), out / sheet)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    given = parser.parse_args()
    styles = sorted(folder for folder in given.pairs.iterdir() if (folder / "val" / "A").is_dir())
    compare({file.parent.name: file for file in given.models}, styles, given.out)
