"""Make the model from sketches to photographs of garments, the models it is compared with, and the comparison.

    python -m tests.recipes.sketch_to_clothing PHOTOS EMOJI RUNS [--hours H] [--ship] [any option of `ddbm train`]

PHOTOS and EMOJI as of `autoencoder`. RUNS gets the sketches, the autoencoder, the parts of the model, each of which
begins as the one before, the models it is compared with, and the comparison. H hours are for each of the models that
are compared, those of the model for all of its parts; the options are for each of the trainings. The same command
resumes an interrupted one; a training that has used its hours stays as it is. The model is compared as it is packaged,
as float16; --ship writes it into the package. Nothing is downloaded. On a GPU: `--device cuda --hours 8`.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddbm_cli.imaging.io import open_picture, save_picture
from ddbm_cli.models.card import ModelCard
from ddbm_cli.models.checkpoint import read_model
from tests.recipes import autoencoder, compare_clothing
from tests.recipes.ship import ASSETS, REGISTRY, packed, register
from tests.recipes.sketch_to_3d import HERE, train

MODEL = "sketch-to-clothing-256"

PARTS = {"pixels-128": 0.2, "pixels-256": 0.4, MODEL: 0.4}
"""The model's parts, which are also the folders of their runs, and their shares of its hours."""

SMALLER = "sketch-to-clothing-128"
"""The model that stays at 128 pixels after the first part."""

LARGEST = 24_000_000
"""Bytes of the packaged file, at most."""

ENTRY = """task = "sketch of a garment -> photo"
licence = "MIT"
licence_source = "trained on Clothing dataset (Alexey Grigorev and contributors, CC0)"
"""


def make(pairs: list[Path], codec: Path, runs: Path, hours: float, options: list[str]) -> list[str]:
    """Train the model and those it is compared with, or resume; return their names, the model's first.

    codec: the autoencoder of the bridge of latents.
    """

    def begin(name: str, share: float, *new: str, recipe: str = "") -> list[str]:
        own = [] if (runs / name / "config.json").exists() else list(new)
        budget = ["--hours", f"{share * hours:g}"] if hours else []
        train(pairs, HERE / f"{recipe or name}.toml", runs / name, [*own, *budget, *options])
        return ["--from", str(runs / name / "model.safetensors")]

    first, second, last = PARTS
    pixels = begin(first, PARTS[first])
    plain = ["--objective", "denoising", "--augment", "flip,shift,scale,hue"]
    before = begin(second, PARTS[second], *pixels, *plain, recipe=last)
    begin(last, PARTS[last], *before)
    begin(SMALLER, 1 - PARTS[first], *pixels)
    begin("latents-256", 1, "--codec", str(codec))
    begin("pix2pix-256", 1)
    return [MODEL, SMALLER, "latents-256", "pix2pix-256"]


def training_of(cards: Sequence[ModelCard]) -> dict[str, Any]:
    """Return what the card of a model states of its training, from the cards of its parts."""
    facts = {key: value for key, value in cards[-1].training.items() if key != "started_from"}
    sums = {key: sum(card.training[key] for card in cards) for key in ("seconds", "steps")}
    return facts | sums | {"parts": len(cards)}


def ship(
    staged: Path,
    scores: compare_clothing.Scores,
    comparison: Path,
    *,
    assets: Path = ASSETS,
    registry: Path = REGISTRY,
) -> Path:
    """Write the model with its figures into the package, and the grids of sketches and results; return its file."""
    card, weights = read_model(staged)
    file = packed(assets / staged.name, dataclasses.replace(card, scores=scores), weights, LARGEST)
    register(file, registry, ENTRY)
    for sheet, asset in (("sketches", "sketch-to-clothing"), ("models", "clothing-models")):
        save_picture(open_picture(comparison / f"{sheet}.png"), assets / f"{asset}.jpg")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photos", "emoji", "runs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--hours", type=float, default=0, help="of training for each model that is compared")
    parser.add_argument("--ship", action="store_true", help="write the model into the package, and its entry")
    given, options = parser.parse_known_args()
    codec = autoencoder.make(given.photos, given.emoji, given.runs / "autoencoder", options)
    pairs = [given.runs / "pairs" / style for style in autoencoder.STYLES]
    names = make(pairs, codec, given.runs, given.hours, options)
    files = {name: given.runs / name / "model.safetensors" for name in names}
    comparison = given.runs / "comparison"
    parts = [read_model(given.runs / part / "model.safetensors") for part in PARTS]
    card, weights = parts[-1]
    card = dataclasses.replace(card, training=training_of([of_part for of_part, _ in parts]))
    files[MODEL] = packed(comparison / f"{MODEL}.safetensors", card, weights, LARGEST)
    scores = compare_clothing.compare(files, pairs, comparison)
    if given.ship:
        ship(files[MODEL], scores[MODEL], comparison)


if __name__ == "__main__":
    main()
