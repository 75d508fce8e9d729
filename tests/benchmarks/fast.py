"""The two-evaluation model against its teacher of 20 evaluations, on held-out pairs.

    python -m tests.benchmarks.fast PAIRS [--fast MODEL] [--teacher MODEL] [--count N] [--draws N] [--grid FILE]

PAIRS is the folder of `tests.recipes.sketch_to_3d`, with pairs in ink/ and pencil/. For each style it prints:

    mse         mean squared error of a draw against the truth, images in -1..1
    swd         sliced Wasserstein distance of all outputs to all truths, see `ddbm_cli.metrics.sliced`
    diversity   root mean square difference of two draws of one source
    chroma      variance of the chroma (Cb, Cr) over the pixels of an object, relative to that of the truths
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from ddbm_cli.imaging.io import save_picture
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.metrics.diversity import pairwise
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import TranslationModel, load_model
from ddbm_cli.samplers import NoiseSource, Plan, finish
from tests.recipes.ship import STYLES, load

AT_ONCE = 16
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


def scores(made: Tensor, truths: Tensor) -> dict[str, float]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--fast", default="sketch-to-3d-64-fast")
    parser.add_argument("--teacher", default="sketch-to-3d-64")
    parser.add_argument("--nfe", type=int, nargs="*", default=[20], help="evaluations of the teacher")
    parser.add_argument("--count", type=int, default=174, help="pairs of each style")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--grid", type=Path, help="PNG of 24 sources: source, teacher, fast model, truth")
    given = parser.parse_args()
    models = [(given.teacher, nfe) for nfe in given.nfe] + ([(given.fast, None)] if given.fast else [])
    sheets: list[list[Tensor]] = []
    for style in STYLES:
        held_out = find_pairs([given.pairs / style], val_share=0.0).val
        chosen = [held_out[number * len(held_out) // given.count] for number in range(min(given.count, len(held_out)))]
        preprocess = load_model(given.teacher).card.preprocess
        source, target = load([(pair.source, pair.target) for pair in chosen], preprocess)
        names = [pair.name for pair in chosen]
        columns = [source]
        for name, nfe in models:
            model = load_model(name, device="cpu")
            plan = model.plan() if nfe is None else model.plan(nfe=nfe)
            began = time.perf_counter()
            made = draw(model, source, names, plan, given.draws)
            seconds = (time.perf_counter() - began) / given.draws / len(source)
            row = "  ".join(f"{key} {value:.4f}" for key, value in scores(made, target).items())
            print(f"{style:6s} {model.name} nfe {plan.nfe}: {row}  {1000 * seconds:.0f} ms per image", flush=True)
            columns.append(made[0])
        sheets.append([*columns, target])
    if given.grid:
        shown = [number * len(sheets[0][0]) // 12 for number in range(12)]
        columns = [torch.cat([sheet[index][shown] for sheet in sheets]) for index in range(len(sheets[0]))]
        save_picture(contact_sheet(columns, columns=4), given.grid)


if __name__ == "__main__":
    main()
