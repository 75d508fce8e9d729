"""Measure models that edit by instruction on held-out triplets: which edits move the right way, and what is kept.

    python -m tests.recipes.measure_instruct [NAME=]MODEL [[NAME=]MODEL ...] EDITS/pairs.jsonl OUTPUT
        [--nfe N] [--scales 1:1,1.2:3] [--cases N] [--sampler NAME] [--batch-size N] [--device NAME]

For each model and each pair of scales (image:text) the held-out images are translated with their own instructions,
resumable, and one table is written to OUTPUT/N-cases/table.md and .json. With --nfe all models take as many network
evaluations, such as a bridge and a diffusion model from noise. For each kind of edit the table holds

- cases: those whose true answer shows the edit;
- moved: the fraction whose attribute moved by at least a quarter of what was asked;
- progress: the median of that movement, 1 for as much as asked; see `imaging.edit_measures`;
- IoU: the mean intersection over union of the result's silhouette with the true one;
- kept: the mean similarity to the true answer where that leaves the source as it is, 1 for equal.
"""

import argparse
import json
import math
import shutil
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.edit_measures import Truth, iou, progress, silhouette_of
from ddbm_cli.imaging.edits import Floats
from ddbm_cli.imaging.io import open_picture
from ddbm_cli.models import TranslationModel, load_model
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.events import Failed, Kept
from tests.recipes.ship import evenly

LEAST_PROGRESS = 0.25
"""Share of the asked change from which a case counts as moved."""

LEAST_CHANGE = 0.02
"""Difference of the true answer from the source, in 0..1, from which a pixel belongs to the edit."""

SCALES = ((1.0, 1.0), (1.0, 2.0), (1.0, 4.0), (1.5, 2.0), (1.5, 4.0))
"""Image and text scales of the table."""

Line = Mapping[str, str]
Table = dict[str, dict[str, float]]


class Case(NamedTuple):
    """The figures of one result; kept: NaN where the edit changes everything."""

    kind: str
    progress: float
    iou: float
    kept: float


class Row(NamedTuple):
    """The figures of a model at a pair of scales, by the kind of edit."""

    model: str
    scales: str
    nfe: int
    table: Table


def held_out(pairs: Path, cases: int | None = None) -> list[Line]:
    """Return the held-out lines of a list of edits, at most `cases`, spread evenly over all of them."""
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    found = [line for line in lines if line.get("split", "train") != "train"]
    return evenly(found, cases or len(found))


def gather(pairs: Path, lines: Sequence[Line], folder: Path) -> tuple[Path, Path]:
    """Copy the images before into a folder, and write their instructions; return both places."""
    sources, prompts = folder / "before", folder / "prompts.txt"
    sources.mkdir(parents=True, exist_ok=True)
    for line in lines:
        file = sources / Path(line["source"]).name
        if not file.exists():
            shutil.copyfile(pairs.parent / line["source"], file)
    write_text(prompts, "".join(f"{Path(line['source']).name}\t{line['caption']}\n" for line in lines))
    return sources, prompts


def translated(model: TranslationModel, given: Mapping[str, Any]) -> None:
    """Translate with the options of `ddbm translate`; finished outputs are kept, those with other settings replaced."""
    request = translate.request(**given)
    for _ in range(2):
        stale = []
        for event in translate.run(request, model=model):
            if isinstance(event, Failed):
                sys.exit(f"{event.message}; {event.hint}")
            if isinstance(event, Kept) and event.differs:
                stale.append(event.output)
        for file in stale:
            file.unlink()
        if not stale:
            return


def pixels(file: Path, like: tuple[int, int] | None = None) -> Floats:
    """Return an image (H, W, 3) in 0..1, in a size (width, height)."""
    picture = open_picture(file).convert("RGB")
    return np.asarray(picture if like is None else picture.resize(like), dtype=np.float64) / 255


def scored(pairs: Path, line: Line, output: Path) -> Case:
    """Return the figures of a result."""
    kind, _, value = line["edit"].partition(":")
    before, after = (pixels(pairs.parent / line[side]) for side in ("source", "target"))
    shown = pixels(output, before.shape[1::-1])
    whole = silhouette_of(after if kind == "remove-background" else before)
    truth = Truth(before, after, whole, value)
    same = np.abs(after - before).max(axis=2) < LEAST_CHANGE
    kept = 1 - np.abs(shown - after)[same].mean() if same.any() else math.nan
    return Case(kind, progress(kind, shown, truth), iou(silhouette_of(shown), silhouette_of(after)), float(kept))


def table_of(found: Sequence[Case]) -> Table:
    """Return the figures of each kind of edit, and of all."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in found:
        if not math.isnan(case.progress):
            groups[case.kind].append(case)
            groups["all"].append(case)
    return {
        kind: {
            "cases": len(cases),
            "moved": float(np.mean([case.progress >= LEAST_PROGRESS for case in cases])),
            "progress": float(np.median([case.progress for case in cases])),
            "iou": float(np.mean([case.iou for case in cases])),
            "kept": float(np.mean([case.kept for case in cases if not math.isnan(case.kept)] or [1.0])),
        }
        for kind, cases in sorted(groups.items(), key=lambda each: (each[0] == "all", each[0]))
    }


def middle_cases(lines: Sequence[Line]) -> list[Line]:
    """Return the middle one of each kind of edit, so that nobody picks them, in the order of the table."""
    kinds: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        kinds[line["edit"].partition(":")[0]].append(line)
    return [kinds[kind][len(kinds[kind]) // 2] for kind in sorted(kinds)]


def words_of(rows: Sequence[Row]) -> str:
    """Return rows as one Markdown table."""
    lines = ["| model | image : text scale | evaluations | edit | cases | moved | progress | IoU | kept |"]
    lines += ["|---|---|--:|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        for kind, each in row.table.items():
            figures = f"{each['moved']:.0%} | {each['progress']:.2f} | {each['iou']:.3f} | {each['kept']:.3f}"
            lines.append(f"| {row.model} | {row.scales} | {row.nfe} | {kind} | {each['cases']} | {figures} |")
    return "\n".join(lines) + "\n"


def measure(
    models: Mapping[str, Path],
    pairs: Path,
    output: Path,
    *,
    scales: Sequence[tuple[float, float]] = SCALES,
    cases: int | None = None,
    device: str = "cpu",
    **options: Any,
) -> list[Row]:
    """Translate, measure and write the table; return its rows.

    Args:
        models: files by their names in the table. options: of `ddbm translate`.
    """
    lines, rows = held_out(pairs, cases), []
    output = output / f"{len(lines)}-cases"
    sources, prompts = gather(pairs, lines, output)
    options = {name: value for name, value in options.items() if value is not None}
    for name, file in models.items():
        model = load_model(str(file), device=device)
        nfe = model.plan(options.get("sampler"), nfe=options.get("nfe")).nfe
        for image, text in scales:
            folder = output / name / f"{image:g}-{text:g}".replace(".", "_")
            both = {"image_guidance_scale": image, "guidance_scale": text}
            given = {"source": str(sources), "output": folder, "prompts": prompts, "to_folder": True, "device": device}
            translated(model, {**given, **both, **options})
            found = [scored(pairs, line, folder / Path(line["source"]).name) for line in lines]
            rows.append(Row(name, f"{image:g}:{text:g}", nfe, table_of(found)))
    write_text(output / "table.json", json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    write_text(output / "table.md", words_of(rows))
    sys.stdout.write(words_of(rows))
    return rows


def read_scales(text: str) -> tuple[tuple[float, float], ...]:
    """Return pairs of scales, written as 1:1,1.2:3."""
    pairs = (each.partition(":") for each in text.split(","))
    return tuple((float(image), float(label)) for image, _, label in pairs)


def named(model: str) -> tuple[str, Path]:
    """Return the name and the file of [NAME=]MODEL; without one it is that of the file or of its run's folder."""
    name, equals, path = model.rpartition("=")
    file = Path(path)
    file = file / "model.safetensors" if file.is_dir() else file
    return name if equals else (file.parent.name if file.stem == "model" else file.stem), file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=named)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scales", type=read_scales, default=SCALES)
    for name in ("--cases", "--nfe", "--batch-size"):
        parser.add_argument(name, type=int)
    parser.add_argument("--sampler")
    parser.add_argument("--device", default="cpu")
    given = vars(parser.parse_args())
    measure(dict(given.pop("models")), given.pop("pairs"), given.pop("output"), **given)


if __name__ == "__main__":
    main()
