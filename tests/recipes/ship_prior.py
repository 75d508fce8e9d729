"""Measure a trained prior on held-out images, write the scores into its card, and put it into the package.

    python -m tests.recipes.ship_prior RUN/model.safetensors PAIRS

The number of samples is the number of held-out images. `swd` is their sliced Wasserstein distance to the held-out
images, as `ddbm evaluate` computes it; a perfect prior would reach that of the same number of training images. `copies`
is the fraction of samples that are closer to a training image than 90 % of the held-out images are: 0.1 for a prior
that copies no image.
"""

import dataclasses
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.imaging.io import open_picture, save_picture
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.metrics.base import Batch
from ddbm_cli.metrics.sliced import SlicedWasserstein
from ddbm_cli.models import load_model, write_model
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.samplers import NoiseSource, finish
from tests.recipes.ship import ASSETS, register

SHOWN = 40
AT_ONCE = 16


def swd(images: Tensor, targets: Tensor) -> float:
    """Return the sliced Wasserstein distance of two sets of images (N, 3, H, W), -1..1."""
    metric = SlicedWasserstein(torch.device("cpu"))
    outputs, targets = (((side + 1) * 127.5).round().clamp(0, 255).byte() for side in (images, targets))
    metric.update(Batch(index=torch.arange(len(outputs)), outputs=outputs, targets=targets))
    return float(metric.figures()[0].value or 0)


def nearest(images: Tensor, among: Tensor) -> Tensor:
    """Return the distance (N,) of each image to the nearest other one, both at 16x16 pixels."""
    small = [F.adaptive_avg_pool2d(side, 16).flatten(1) for side in (images, among)]
    return torch.cdist(*small).amin(dim=1)


def ship(file: Path, pairs: Path) -> None:
    """Sample and measure, write card and weights into the package, and write the README's sheet of samples."""
    model = load_model(file, device="cpu")
    split = find_pairs([pairs], val_share=0.0)
    held_out, training = (
        torch.stack([model.card.preprocess.forward(open_picture(pair.target))[0] for pair in part])
        for part in (split.val, split.train)
    )
    names, plan = [f"{index:06d}" for index in range(len(held_out))], model.plan()
    empty = torch.zeros_like(held_out)
    samples = torch.cat([
        finish(model.translate(empty[first : first + AT_ONCE], NoiseSource(0, names[first : first + AT_ONCE]), plan))
        for first in range(0, len(names), AT_ONCE)
    ]).clamp(-1, 1)  # fmt: skip
    apart = nearest(held_out, training).quantile(0.1)
    some = training[:: len(training) // len(held_out)][: len(held_out)]
    scores = {
        "pictures": len(samples),
        "nfe": plan.nfe,
        "swd": round(swd(samples, held_out), 4),
        "swd_of_training_pictures": round(swd(some, held_out), 4),
        "copies": round(float((nearest(samples, training) < apart).float().mean()), 3),
    }
    card, weights = read_model(file)
    shipped = ASSETS / f"{card.name}.safetensors"
    write_model(shipped, dataclasses.replace(card, scores={"held_out": scores}), weights)
    save_picture(contact_sheet([samples[:SHOWN]], columns=10), ASSETS / "samples.png")
    register(shipped)
    sys.stdout.write(f"{shipped}\n{scores}\n")


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
