"""Translation without pairs, against the true answers: emoji from light to dark skin tones.

    python -m tests.benchmarks.unpaired IMAGES WORK [--priors LIGHT DARK] [--model NAME=MODEL ...]
        [--nfe N] [--ddib-nfe N]

IMAGES is a folder of Fluent emoji. `tests.recipes.skin_tones` divides it: nobody who is held out is in the training,
and the training gets no pairs. All methods get the held-out light images at 64 pixels, and are measured against the
dark ones, which are of the same people, both on white. The same command resumes. It writes WORK/results.md and .json,
and a grid of images, WORK/grid.png.

    identity          the source itself
    colour transfer   the closed form between the colours of the training images
    ddib              two priors: `ddbm train TONES/trainA --config tests/recipes/skin-tones-prior-64.toml`, and trainB
    NAME=MODEL        models of `ddbm train --task schrodinger`: DSBM, rectified flow (--path rectified)

CycleGAN is absent: no maintained library on the package index carries it.

Figures: mse to the truth and to the source, and of going there and back (cycle), images in -1..1, with 95 % bootstrap
intervals; swd, the sliced Wasserstein distance of all results to all truths.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ddbm_cli.imaging.alpha import on_paper
from ddbm_cli.imaging.io import encode_picture, open_picture, save_picture, write_atomically
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import labelled_sheet
from tests.recipes.skin_tones import make_sides

SIZE = 64
SHOWN = 10
METRICS = {"mse": "MSE", "swd": "Sliced Wasserstein", "source-mse": "MSE to the source", "cycle-mse": "Cycle MSE"}
COLOURS = {"colour transfer": "opponent", "colour transfer, RGB": "rgb", "colour transfer, patches": "patches"}

Row = dict[str, Any]


def ddbm(*arguments: object) -> str:
    """Run the command, and return its standard output; exit if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "ddbm_cli", *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def small(folder: Path, output: Path) -> Path:
    """Write the images of a folder in the models' size, with their transparency."""
    preprocess = Preprocess(size=SIZE)
    output.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.iterdir()):
        target = output / f"{file.stem}.png"
        if not target.exists():
            image = open_picture(file)
            save_picture(image.resize(preprocess.forward(image)[1].natural, Image.Resampling.LANCZOS), target)
    return output


def methods(given: argparse.Namespace, images: Path) -> dict[str, list[object]]:
    """Return the options of `ddbm translate` for each method."""
    every: dict[str, list[object]] = {}
    for name, space in COLOURS.items():
        folders = ["--to", images / "trainB", "--colours-from", images / "trainA"]
        every[name] = ["--method", "colour-transfer", *folders, "--colour-space", space]
    if given.priors:
        light, dark = given.priors
        every["ddib"] = ["--method", "ddib", "--source-model", light, "-m", dark, "--nfe", given.ddib_nfe]
    for each in given.model:
        name, _, model = each.partition("=")
        every[name] = ["-m", model, "--nfe", given.nfe]
    return every


def measured(output: Path, images: Path, options: Sequence[object]) -> Row:
    """Return the figures of a method's results."""
    words: list[object] = [output, images / "valB", "--sketches", images / "valA", "--resize", "outputs"]
    names = [name for name in METRICS if name != "cycle-mse"]
    if "-m" in options and "--method" not in options:
        words += ["--cycle", options[options.index("-m") + 1]]
        names = list(METRICS)
    report = json.loads(ddbm("evaluate", *words, "--metrics", ",".join(names), "--json").splitlines()[-1])
    return {each["name"]: {key: each.get(key) for key in ("value", "low", "high", "n")} for each in report["figures"]}


def table(rows: dict[str, Row]) -> str:
    """Return the rows as a table in Markdown."""

    def cell(figure: Row | None) -> str:
        if figure is None or figure["value"] is None:
            return ""
        interval = f" ({figure['low']:.4f} to {figure['high']:.4f})" if figure["low"] is not None else ""
        return f"{figure['value']:.4f}{interval}"

    lines = [f"| Method | {' | '.join(METRICS.values())} |", "|---" * (len(METRICS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cell(row.get(each)) for each in METRICS)} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def grid(folders: dict[str, Path]) -> bytes:
    """Return a sheet of the first results of each method, next to source and truth."""
    names = sorted(file.name for file in folders["source"].iterdir())
    shown = names[:: max(1, len(names) // SHOWN)][:SHOWN]
    columns = {label: [on_paper(open_picture(each / name)) for name in shown] for label, each in folders.items()}
    return encode_picture(labelled_sheet(columns, least=96), "png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--priors", nargs=2, metavar=("LIGHT", "DARK"))
    parser.add_argument("--model", action="append", default=[], metavar="NAME=MODEL")
    parser.add_argument("--nfe", type=int, default=10)
    parser.add_argument("--ddib-nfe", type=int, default=80)
    given = parser.parse_args()
    sides, images = make_sides(given.images, given.work / "tones"), given.work / "images"
    for side in ("trainA", "trainB", "valA", "valB"):
        small(sides / side, images / side)
    rows = {"identity": measured(images / "valA", images, ())}
    folders = {"source": images / "valA"}
    for name, options in methods(given, images).items():
        output = given.work / "results" / name.replace(" ", "-").replace(",", "")
        ddbm("translate", images / "valA", output, "--format", "png", *options)
        rows[name] = measured(output, images, options)
        folders[name] = output
    write_atomically(given.work / "results.json", json.dumps(rows, indent=1).encode())
    write_atomically(given.work / "results.md", table(rows).encode())
    write_atomically(given.work / "grid.png", grid(folders | {"truth": images / "valB"}))
    print(table(rows))


if __name__ == "__main__":
    main()
