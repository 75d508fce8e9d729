"""Make our autoencoder: line art, training, scores on held-out images, and with --ship the packaged file.

    python -m tests.recipes.autoencoder PHOTOS EMOJI RUN [--ship] [any option of `ddbm train`]

PHOTOS has folders train/ and val/; EMOJI an `index.tsv` that gives each file's split. The sketches lie beside RUN, and
the bridge of latents is trained on the same. The same command resumes an interrupted run. On a GPU: `--device cuda
--batch-size 64 --learning-rate 2e-3 --hours 4`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ddbm_cli.codecs import Codec
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.codecs import load_codec
from ddbm_cli.networks.perceptual import load_perceptual_distance
from tests.recipes import ship
from tests.recipes.sketch_to_3d import HERE, ddbm, train

SIDE = 256
STYLES = ("ink", "pencil")
KINDS = {
    "photographs": ("pairs/ink/val/B",),
    "sketches of them": ("pairs/ink/val/A", "pairs/pencil/val/A"),
    "emoji": ("emoji/val/B",),
}
"""What is measured, and where beside the run it lies."""

LARGEST = 8_000_000
"""Bytes of the packaged file, at most."""

ENTRY = """task = "image -> image"
licence = "MIT"
licence_source = "trained on Clothing dataset (CC0) and Fluent Emoji (Microsoft, MIT)"
"""


def draw(images: Path, pairs: Path, style: str, *options: str) -> None:
    """Draw sketches of a folder in a style, by several hands."""
    how = ("--size", str(SIDE), "--style", style, "--hand", "varied", "-q")
    ddbm("data", "edges", str(images), str(pairs), *options, *how)


def draw_pairs(photos: Path, pairs: Path) -> list[Path]:
    """Draw each photograph in ink and in coloured pencil, by several hands; return the folders, split and by class."""
    for style in STYLES:
        for split in ("train", "val"):
            draw(photos / split, pairs / style / split, style, "-r")
    return [pairs / style for style in STYLES]


def make(photos: Path, emoji: Path, run: Path, options: list[str]) -> Path:
    """Train on photographs, emoji and sketches of both, or resume; return the model's file."""
    pairs, drawn = draw_pairs(photos, run.parent / "pairs"), run.parent / "emoji"
    draw(emoji, drawn, "mixed", "--split-by", str(emoji / "index.tsv"))
    sides = [folder / "train" / side for folder in (*pairs, drawn) for side in "AB"]
    train(sides, HERE / "autoencoder-256.toml", run, options)
    return run / "model.safetensors"


@torch.no_grad()
def measure(codec: Codec, files: Sequence[Path]) -> dict[str, float]:
    """Return the number of images, their mean PSNR in dB, and their mean perceptual distance (ST-LPIPS, AlexNet)."""
    distance = load_perceptual_distance(torch.device("cpu"))
    preprocess = Preprocess(size=SIDE)
    ratios, distances = [], []
    for file in files:
        image = preprocess.forward(open_picture(file))[0][None]
        made = codec.decode(codec.encode(image)).clamp(-1, 1)
        ratios.append(10 * torch.log10(4 / (made - image).square().mean().clamp(min=1e-10)))
        distances.append(distance(made, image)[0])
    means = (float(torch.stack(each).mean()) for each in (ratios, distances))
    return {"images": len(files), **dict(zip(("psnr", "perceptual"), (round(x, 4) for x in means), strict=True))}


def score(file: Path, beside: Path) -> dict[str, dict[str, float]]:
    """Return and print the figures of all held-out images."""
    _, codec = load_codec(str(file))
    scores = {}
    for kind, folders in KINDS.items():
        scores[kind] = measure(codec, sorted(image for folder in folders for image in (beside / folder).rglob("*.png")))
        sys.stdout.write(f"{kind}: {scores[kind]}\n")
    return scores


def package(file: Path, beside: Path) -> None:
    """Write the model as float16, with its figures as such, into the package."""
    card, weights = read_model(file)
    target = ship.packed(ship.ASSETS / f"{card.name}.safetensors", card, weights, LARGEST)
    ship.packed(target, dataclasses.replace(card, scores=score(target, beside)), weights, LARGEST)
    ship.register(target, entry=ENTRY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photos", "emoji", "run"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--ship", action="store_true", help="write the file into the package, and its entry")
    given, options = parser.parse_known_args()
    file = make(given.photos, given.emoji, given.run, options)
    if given.ship:
        package(file, given.run.parent)
    else:
        score(file, given.run.parent)


if __name__ == "__main__":
    main()
