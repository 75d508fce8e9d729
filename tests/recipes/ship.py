"""Measure a trained model on all held-out pairs, write the scores into its card, and put it into the package.

python -m tests.recipes.ship RUN/model.safetensors PAIRS
"""

import dataclasses
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ddbm_cli.foundation.hashing import sha256_of_file
from ddbm_cli.imaging.io import open_picture, save_picture
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import ModelCard, TranslationModel, builtin_path, load_model, write_model
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.selfcheck import check_file
from ddbm_cli.samplers import NoiseSource, finish

Item = TypeVar("Item")

STYLES = ("ink", "pencil")
SETTINGS = {"nfe_2": {"nfe": 2}, "nfe_8": {}, "nfe_10": {"nfe": 10}}
ASSETS = builtin_path().parent
ROOT = Path(__file__).parent.parent.parent
REGISTRY = ROOT / "weights.toml"
BEFORE = "[edges2handbags-vp-64]\n"
"""The first model in the registry that is not part of the package."""

SHOWN = {
    "ink": {"1f98a": "fox", "1f6d6": "hut", "1f37a": "beer-mug", "1f36a": "cookie", "1f55d": "clock",
            "1f611": "face", "1f482": "guardsman"},
    "pencil": {"1f339": "rose", "1f353": "strawberry", "1f407": "rabbit", "1f950": "croissant", "1f3bb": "violin",
               "1fab4": "potted-plant", "1f6f7": "sled"},
}  # fmt: skip
"""Held-out objects whose sketches are part of the package and are shown in the README."""


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return so many items at even distances, so that nobody picks them; all where there are fewer."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def load(pairs: list[tuple[Path, Path]], preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """Return sources and targets (N, 3, H, W)."""
    sides = ([preprocess.forward(open_picture(p))[0] for p in column] for column in zip(*pairs, strict=True))
    source, target = (torch.stack(side) for side in sides)
    return source, target


def translate(model: TranslationModel, source: Tensor, names: list[str], **settings: object) -> Tensor:
    """Translate all sources, in batches of 16."""
    plan = model.plan(**settings)
    results = []
    for first in range(0, len(source), 16):
        part = slice(first, first + 16)
        results.append(finish(model.translate(source[part], NoiseSource(0, names[part]), plan)))
    return torch.cat(results).clamp(-1, 1)


def measure(model: TranslationModel, pairs: Path) -> dict[str, dict[str, float]]:
    """Return for each style the mean squared errors of results and of a white image, on all held-out pairs, -1..1."""
    scores = {}
    for style in STYLES:
        held_out = find_pairs([pairs / style], val_share=0.0).val
        source, target = load([(pair.source, pair.target) for pair in held_out], model.card.preprocess)
        names = [pair.name for pair in held_out]
        row = {"pictures": len(names), "blank_page": float((1 - target).square().mean())}
        for name, settings in SETTINGS.items():
            result = translate(model, source, names, **settings)
            row[name] = float((result - target).square().mean())
        scores[style] = {name: round(value, 4) for name, value in row.items()}
    return scores


def show(model: TranslationModel, pairs: Path) -> None:
    """Copy the sketches into the package, and write a sheet of sketches, results and targets."""
    names = [f"{name}-{style}.png" for style, objects in SHOWN.items() for name in objects.values()]
    shown = [(pairs / style / "val", stem) for style, objects in SHOWN.items() for stem in objects]
    files = [(folder / "A" / f"{stem}.png", folder / "B" / f"{stem}.png") for folder, stem in shown]
    (ASSETS / "sketches").mkdir(parents=True, exist_ok=True)
    for name, (sketch, _) in zip(names, files, strict=True):
        shutil.copyfile(sketch, ASSETS / "sketches" / name)
    source, target = load(files, model.card.preprocess)
    save_picture(contact_sheet([source, translate(model, source, names), target], columns=5), ASSETS / "grid.png")


def ship(file: Path, pairs: Path) -> None:
    """Measure the model, write its card and weights into the package, and write the README's sheet."""
    model = load_model(file, device="cpu")
    scores = measure(model, pairs)
    card, weights = read_model(file)
    write_model(builtin_path(), dataclasses.replace(card, scores=scores), weights)
    show(model, pairs)
    register(builtin_path())
    sys.stdout.write(f"{builtin_path()}\n{scores}\n")


def packed(file: Path, card: ModelCard, weights: Mapping[str, Tensor], largest: int) -> Path:
    """Write a model as float16 and return its file; exit if it has more than `largest` bytes."""
    write_model(file, card, weights, dtype=torch.float16)
    if file.stat().st_size > largest:
        sys.exit(f"{file}: {file.stat().st_size:,} bytes, more than {largest:,}")
    return file


def register(file: Path, registry: Path = REGISTRY, entry: str = "") -> None:
    """Write size, digest and fingerprint of the file into its entry of a registry.

    entry: what a new entry has besides, as lines of TOML; it comes before the models that are not built in.
    """
    body = registry.read_text()
    if f"[{file.stem}]\n" not in body:
        fresh = f'builtin = true\nfile = "ddbm_cli/assets/{file.name}"\nsize = 0\nsha256 = ""\nfingerprint = []\n'
        body = body.replace(BEFORE, f"[{file.stem}]\n{entry}{fresh}\n{BEFORE}", 1)
    before, heading, table = body.partition(f"[{file.stem}]\n")
    facts = {
        "size": file.stat().st_size,
        "sha256": f'"{sha256_of_file(file)}"',
        "fingerprint": list(check_file(file).fingerprint),
    }
    for key, value in facts.items():
        table = re.sub(rf"^{key} = .*$", f"{key} = {value}", table, count=1, flags=re.MULTILINE)
    registry.write_text(before + heading + table)


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
