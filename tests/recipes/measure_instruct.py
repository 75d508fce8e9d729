"""Measure a model that edits by instruction on held-out triplets: which edits move the right way, and what is kept.

    python -m tests.recipes.measure_instruct MODEL EDITS/pairs.jsonl OUTPUT [--nfe N] [--scales 1:1,1.2:3] [--cases N]

For each pair of scales (image:text) the held-out images are translated with their own instructions, by the command and
resumable, and a table is written to OUTPUT/N-cases/table.md and .json. For each kind of edit it holds the number of
cases, the fraction of them whose attribute moved by at least a quarter of what was asked, the median of that progress,
and the mean IoU of the result's silhouette with the true one; see `imaging.edit_measures`.
"""

import argparse
import json
import math
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.edit_measures import Truth, iou, progress, silhouette_of
from ddbm_cli.imaging.edits import Floats
from ddbm_cli.imaging.io import open_picture
from tests.recipes.sketch_to_3d import ddbm

LEAST_PROGRESS = 0.25
"""Share of the asked change from which a case counts as moved."""

SCALES = ((1.0, 1.0), (1.0, 2.0), (1.0, 4.0), (1.5, 2.0), (1.5, 4.0))
"""Image and text scales of the table."""


def held_out(pairs: Path, cases: int | None = None) -> list[dict[str, str]]:
    """Return the held-out lines of a list of edits, at most `cases`, spread evenly over all of them."""
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    found = [line for line in lines if line.get("split", "train") != "train"]
    step = max(1, len(found) // cases) if cases else 1
    return found[::step][:cases]


def translated(model: Path, pairs: Path, lines: list[dict[str, str]], folder: Path, options: list[str]) -> None:
    """Translate the images before, each with its instruction, into a folder; finished ones are kept."""
    sources = folder.parent / "before"
    sources.mkdir(parents=True, exist_ok=True)
    for line in lines:
        file = sources / Path(line["source"]).name
        if not file.exists():
            shutil.copyfile(pairs.parent / line["source"], file)
    prompts = folder.parent / "prompts.txt"
    write_text(prompts, "".join(f"{Path(line['source']).name}\t{line['caption']}\n" for line in lines))
    ddbm("translate", str(sources), str(folder), "-m", str(model), "--prompts", str(prompts), "-q", *options)


def pixels(file: Path, like: tuple[int, int] | None = None) -> Floats:
    """Return an image (H, W, 3) in 0..1, in a size (width, height)."""
    picture = open_picture(file).convert("RGB")
    return np.asarray(picture if like is None else picture.resize(like), dtype=np.float64) / 255


def scored(pairs: Path, line: dict[str, str], output: Path) -> tuple[str, float, float]:
    """Return the kind of a case, its progress, and the IoU of its silhouette."""
    kind, _, value = line["edit"].partition(":")
    before, after = (pixels(pairs.parent / line[side]) for side in ("source", "target"))
    shown = pixels(output, before.shape[1::-1])
    whole = silhouette_of(after if kind == "remove-background" else before)
    truth = Truth(before, after, whole, value)
    return kind, progress(kind, shown, truth), iou(silhouette_of(shown), silhouette_of(after))


def table_of(found: list[tuple[str, float, float]]) -> dict[str, dict[str, float]]:
    """Return the figures of each kind of edit, and of all."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for kind, share, kept in found:
        if not math.isnan(share):
            groups[kind].append((share, kept))
            groups["all"].append((share, kept))
    return {
        kind: {
            "cases": len(cases),
            "moved": float(np.mean([share >= LEAST_PROGRESS for share, _ in cases])),
            "progress": float(np.median([share for share, _ in cases])),
            "iou": float(np.mean([kept for _, kept in cases])),
        }
        for kind, cases in sorted(groups.items(), key=lambda each: (each[0] == "all", each[0]))
    }


def words_of(tables: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return tables by their scales as Markdown."""
    lines = ["| image : text scale | edit | cases | moved | progress | IoU |", "|---|---|---|---|---|---|"]
    for scales, table in tables.items():
        for kind, row in table.items():
            figures = f"{row['cases']} | {row['moved']:.0%} | {row['progress']:.2f} | {row['iou']:.3f}"
            lines.append(f"| {scales} | {kind} | {figures} |")
    return "\n".join(lines) + "\n"


def measure(
    model: Path,
    pairs: Path,
    output: Path,
    *,
    scales: tuple[tuple[float, float], ...] = SCALES,
    cases: int | None = None,
    options: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Translate, measure and write the table; return its figures by scales and kind."""
    lines, tables = held_out(pairs, cases), {}
    output = output / f"{len(lines)}-cases"
    for image, text in scales:
        name = f"{image:g}:{text:g}"
        folder = output / name.replace(":", "-").replace(".", "_")
        both = ["--image-guidance-scale", f"{image:g}", "--guidance-scale", f"{text:g}"]
        translated(model, pairs, lines, folder, [*both, *options])
        tables[name] = table_of([scored(pairs, line, folder / Path(line["source"]).name) for line in lines])
    write_text(output / "table.json", json.dumps(tables, indent=1) + "\n")
    write_text(output / "table.md", words_of(tables))
    print(words_of(tables))
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scales", default=",".join(f"{image:g}:{text:g}" for image, text in SCALES))
    parser.add_argument("--cases", type=int, default=None)
    given, options = parser.parse_known_args()
    scales = tuple(
        (float(one), float(two)) for one, _, two in (each.partition(":") for each in given.scales.split(","))
    )
    measure(given.model, given.pairs, given.output, scales=scales, cases=given.cases, options=tuple(options))


if __name__ == "__main__":
    main()
