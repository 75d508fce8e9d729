"""The two-evaluation model against its teacher of 20 evaluations, on held-out pairs.

    python -m tests.benchmarks.fast PAIRS [--model MODEL:NFE ...] [--count N] [--draws N] [--grid FILE]

PAIRS is the folder of `tests.recipes.sketch_to_3d`, with pairs in ink/ and pencil/. For each style it prints:

    mse         mean squared error of a draw against the truth, images in -1..1
    swd         sliced Wasserstein distance of all outputs to all truths, see `ddbm_cli.metrics.sliced`
    diversity   root mean square difference of two draws of one source
    chroma      variance of the chroma (Cb, Cr) over the pixels of an object, relative to that of the truths
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.imaging.io import save_picture
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.metrics.diversity import pairwise
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import TranslationModel, load_model
from ddbm_cli.samplers import NoiseSource, Plan, finish
from tests.recipes.ship import STYLES, load

AT_ONCE = 16
SHOWN = 24
DEFAULT = ("sketch-to-3d-64-fast", "sketch-to-3d-64:20")

Scores = dict[str, float]
CHROMA = torch.tensor([[-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
"""Cb and Cr of red, green and blue (ITU-R BT.601)."""

PAPER = 0.97
"""Value of a channel, -1..1, from which a pixel of a truth counts as white paper."""


def chroma_variance(images: Tensor, truths: Tensor) -> Tensor:
    """Return the variance of the chroma over each object's pixels, (N,), for images and truths (N, 3, H, W)."""
    inside = (truths.amin(dim=1) < PAPER).float().flatten(1)
    chroma = torch.einsum("kc,nchw->nkhw", CHROMA, images).flatten(2)
    count = inside.sum(1).clamp(min=1)
    mean = (chroma * inside[:, None]).sum(2) / count[:, None]
    spread = (chroma - mean[..., None]).square() * inside[:, None]
    return spread.sum((1, 2)) / count


def draw(model: TranslationModel, source: Tensor, names: list[str], plan: Plan, draws: int) -> Tensor:
    """Return draws of each source, (draws, N, 3, H, W)."""
    rows = []
    for number in range(draws):
        made = [
            finish(model.translate(source[part], NoiseSource(0, names[part], number), plan))
            for part in (slice(first, first + AT_ONCE) for first in range(0, len(source), AT_ONCE))
        ]
        rows.append(torch.cat(made).clamp(-1, 1))
    return torch.stack(rows)


def scores(made: Tensor, truths: Tensor) -> Scores:
    """Return the figures of draws (draws, N, 3, H, W)."""
    swd = SlicedWasserstein(torch.device("cpu"))
    index = torch.arange(len(truths))
    swd.add("outputs", index, (made[0] + 1) / 2)
    swd.add("targets", index, (truths + 1) / 2)
    spread = pairwise(made.transpose(0, 1).flatten(2)) / made[0, 0].numel() ** 0.5 if len(made) > 1 else torch.zeros(1)
    chroma = chroma_variance(made[0], truths).mean() / chroma_variance(truths, truths).mean()
    return {
        "mse": float((made - truths).square().mean()),
        "swd": float(swd.figures()[0].value or 0),
        "diversity": float(spread.mean()),
        "chroma": float(chroma),
    }


def held_out(pairs: Path, style: str, count: int, preprocess: Preprocess) -> tuple[Tensor, Tensor, list[str]]:
    """Return sources, truths and names of up to `count` held-out pairs, evenly spread over all."""
    every = find_pairs([pairs / style], val_share=0.0).val
    count = min(count, len(every))
    chosen = [every[number * len(every) // count] for number in range(count)]
    source, target = load([(pair.source, pair.target) for pair in chosen], preprocess)
    return source, target, [pair.name for pair in chosen]


def measure(
    model: TranslationModel, plan: Plan, pairs: Path, *, count: int, draws: int
) -> Iterator[tuple[str, Scores]]:
    """Yield each style and the figures of a model on it."""
    for style in STYLES:
        source, target, names = held_out(pairs, style, count, model.card.preprocess)
        yield style, scores(draw(model, source, names, plan, draws), target)


def show(models: list[tuple[TranslationModel, Plan]], pairs: Path, file: Path) -> None:
    """Write a sheet of 24 sources that are not picked: source, an output of each model, truth."""
    sheets = []
    for style in STYLES:
        source, target, names = held_out(pairs, style, SHOWN // len(STYLES), models[0][0].card.preprocess)
        sheets.append([source, *(draw(model, source, names, plan, 1)[0] for model, plan in models), target])
    columns = [torch.cat(column) for column in zip(*sheets, strict=True)]
    save_picture(contact_sheet(columns, columns=4), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", action="append", help="MODEL or MODEL:NFE; repeat it for several")
    parser.add_argument("--count", type=int, default=174, help="held-out pairs of each style")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--grid", type=Path, help="write a sheet of 24 sources, and no figures")
    given = parser.parse_args()
    models = []
    for name, _, nfe in (text.partition(":") for text in given.model or DEFAULT):
        model = load_model(name, device="cpu")
        models.append((model, model.plan(nfe=int(nfe)) if nfe else model.plan()))
    if given.grid:
        show(models, given.pairs, given.grid)
        return
    for model, plan in models:
        for style, found in measure(model, plan, given.pairs, count=given.count, draws=given.draws):
            row = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
            print(f"{style:6s} {model.name} nfe {plan.nfe}: {row}", flush=True)


if __name__ == "__main__":
    main()
