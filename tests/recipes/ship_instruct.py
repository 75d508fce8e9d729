"""Package a small model that edits by instruction: as float16, with its figures on held-out triplets in its card.

    python -m tests.recipes.ship_instruct RUN EDITS/pairs.jsonl ... [--cases N] [--scales 1:1,1:2] [--nfe N]

RUN may be a training that is not finished: its averaged weights of the last save are taken. The figures are of the
packaged file itself, see `measure_instruct`. The file and its entry in weights.toml are written last.
"""

import argparse
import dataclasses
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ddbm_cli.imaging.edits import EDITS, SKIN
from ddbm_cli.imaging.io import open_picture, save_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.models import ModelCard
from ddbm_cli.models.checkpoint import read_model
from ddbm_cli.models.vocabulary import words_of
from tests.recipes.measure_instruct import Line, Row, held_out, measure, middle_cases, named, read_scales
from tests.recipes.ship import ASSETS, REGISTRY, packed, register

NAME = "instruct-small"

LARGEST = 16_000_000
"""Bytes of the packaged file, at most."""

SHOWN, COLUMNS = 128, 3
"""Pixels of an image in the sheet, along each side, and cases in a row of it."""

SCALES = ((1.0, 1.0), (1.0, 2.0))

ENTRY = """task = "image, instruction -> image"
licence = "MIT"
licence_source = "trained on Fluent Emoji (Microsoft, MIT) and Clothing dataset (CC0), edited by `ddbm data instruct`"
"""


def instructions(lines: Sequence[Line]) -> str:
    """Return the instructions of the training in words: the first sentence of each kind with its values."""
    values: dict[str, set[str]] = {}
    for line in lines:
        kind, _, value = line["edit"].partition(":")
        values.setdefault(kind, set()).add(value)
    sentences = {kind: edit.instructions[0] for kind, edit in EDITS.items()} | {"skin": SKIN[0]}
    return "; ".join(sentences[kind].format(value="/".join(sorted(values[kind]))) for kind in sorted(values))


def figures(rows: Sequence[Row], images: int) -> dict[str, Any]:
    """Return the figures of a card: the number of images, and by scales (image:text) those of each kind of edit."""
    tables = {
        row.scales: {kind: {name: round(value, 4) for name, value in each.items()} for kind, each in row.table.items()}
        for row in rows
    }
    return {"held_out_images": images, "nfe": rows[0].nfe, **tables}


def described(card: ModelCard, lines: Sequence[Line]) -> ModelCard:
    """Return the card with the vocabulary of its training, as instructions and as words."""
    texts = [line["caption"] for line in lines]
    assert card.vocabulary is not None
    words = dataclasses.replace(card.vocabulary, words=words_of(texts))
    limits = f"{card.limits}; instructions such as: {instructions(lines)}"
    return dataclasses.replace(card, name=NAME, vocabulary=words, limits=limits)


def show(lists: Sequence[Path], work: Path, assets: Path, cases: int | None) -> None:
    """Write a sheet of held-out cases, one of each kind of edit: before, result, true answer."""
    preprocess, found = Preprocess(size=SHOWN), []
    for pairs in lists:
        lines = held_out(pairs, cases)
        results = work / pairs.parent.name / f"{len(lines)}-cases" / NAME / "1-1"
        for line in middle_cases(lines):
            before, after = (pairs.parent / line[side] for side in ("source", "target"))
            found.append((before, results / before.name, after))
    sides = [
        torch.stack([preprocess.forward(open_picture(file))[0] for file in side]) for side in zip(*found, strict=True)
    ]
    save_picture(contact_sheet(sides, columns=COLUMNS), assets / f"{NAME}.jpg")


def ship(
    file: Path,
    lists: Sequence[Path],
    *,
    scales: Sequence[tuple[float, float]] = SCALES,
    assets: Path = ASSETS,
    registry: Path = REGISTRY,
    **options: Any,
) -> Path:
    """Measure the model of a run, and write it and its entry; return the file.

    Args:
        lists: of triplets; the name of its folder is that of its figures. options: of `measure`.
    """
    card, weights = read_model(file)
    work = file.parent / "ship"
    lines = [json.loads(line) for pairs in lists for line in pairs.read_text().splitlines()]
    card = described(card, [line for line in lines if line.get("split", "train") == "train"])
    staged = packed(work / f"{NAME}.safetensors", card, weights, LARGEST)
    scores = {}
    for pairs in lists:
        rows = measure({NAME: staged}, pairs, work / pairs.parent.name, scales=scales, **options)
        scores[pairs.parent.name] = figures(rows, len(held_out(pairs, options.get("cases"))))
    packed(staged, dataclasses.replace(card, scores=scores), weights, LARGEST)
    target = assets / staged.name
    assets.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(staged, target)
    register(target, registry, ENTRY)
    show(lists, work, assets, options.get("cases"))
    counts = Counter(line.get("split", "train") for line in lines)
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes; triplets: {dict(counts)}\n{card.limits}\n")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=named)
    parser.add_argument("lists", type=Path, nargs="+")
    parser.add_argument("--scales", type=read_scales, default=SCALES)
    for name in ("--cases", "--nfe", "--batch-size"):
        parser.add_argument(name, type=int)
    for name, place in (("--assets", ASSETS), ("--registry", REGISTRY)):
        parser.add_argument(name, type=Path, default=place)
    given = vars(parser.parse_args())
    ship(given.pop("run")[1], given.pop("lists"), **given)


if __name__ == "__main__":
    main()
