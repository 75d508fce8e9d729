"""Make the model from sketches to photographs of garments, the models it is compared with, and the comparison.

    python -m tests.recipes.sketch_to_clothing PHOTOS EMOJI RUNS [--ship] [any option of `ddbm train`]

PHOTOS and EMOJI as of `autoencoder`. RUNS gets the sketches, the autoencoder, a bridge of latents at 256 pixels, a
bridge of pixels at 128, pix2pix at 256, and the comparison. The options are for each of the trainings, so `--hours 8`
trains each of them for eight hours. The same command resumes an interrupted one; a training that has used its hours
stays as it is. The model is compared as it is packaged, as float16; --ship writes it into the package. Nothing is
downloaded. On a GPU: `--device cuda --hours 8`.
"""

import argparse
import dataclasses
from pathlib import Path

from ddbm_cli.imaging.io import open_picture, save_picture
from ddbm_cli.models.checkpoint import read_model
from tests.recipes import autoencoder, compare_clothing
from tests.recipes.ship import ASSETS, packed, register
from tests.recipes.sketch_to_3d import HERE, train

MODELS = ("sketch-to-clothing-256", "pixels-128", "pix2pix-256")
"""The recipes, which are also the folders of their runs; the first is the model, the others are compared with it."""

LARGEST = 24_000_000
"""Bytes of the packaged file, at most; the autoencoder is in it."""

ENTRY = """task = "sketch of a garment -> photo"
licence = "MIT"
licence_source = "trained on Clothing dataset (Alexey Grigorev and contributors, CC0)"
"""


def ship(staged: Path, scores: compare_clothing.Scores, comparison: Path) -> None:
    """Write the model with its figures into the package, and the grid of sketches and results."""
    card, weights = read_model(staged)
    target = ASSETS / staged.name
    register(packed(target, dataclasses.replace(card, scores=scores), weights, LARGEST), entry=ENTRY)
    save_picture(open_picture(comparison / "sketches.png"), ASSETS / "sketch-to-clothing.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photos", "emoji", "runs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--ship", action="store_true", help="write the model into the package, and its entry")
    given, options = parser.parse_known_args()
    codec = autoencoder.make(given.photos, given.emoji, given.runs / "autoencoder", options)
    pairs = [given.runs / "pairs" / style for style in autoencoder.STYLES]
    for name in MODELS:
        latent = ["--codec", str(codec)] if name == MODELS[0] and not (given.runs / name).exists() else []
        train(pairs, HERE / f"{name}.toml", given.runs / name, [*latent, *options])
    files = {name: given.runs / name / "model.safetensors" for name in MODELS}
    comparison = given.runs / "comparison"
    files[MODELS[0]] = packed(comparison / f"{MODELS[0]}.safetensors", *read_model(files[MODELS[0]]), LARGEST)
    scores = compare_clothing.compare(files, pairs, comparison)
    if given.ship:
        ship(files[MODELS[0]], scores[MODELS[0]], comparison)


if __name__ == "__main__":
    main()
