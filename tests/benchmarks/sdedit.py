"""SDEdit's trade-off (arXiv:2108.01073, Fig. 3): faithful to the guide, or like the pictures that the prior knows.

    python -m tests.benchmarks.sdedit GUIDES TRUTHS PRIOR OUT [--count N] [any option of `ddbm translate`]

GUIDES and TRUTHS are folders of the same names, of objects that were held out; PRIOR is a model. Sketches may be the
guides, or, as the paper's simulated strokes, the truths themselves with `--guide blur:sigma=4`. At each of five
strengths all guides are edited. Distance to the guide is the root mean square difference, values in -1..1; distance to
the pictures is `swd`, sliced Wasserstein on patches, of the set of results and the set of truths. Strength 0 is the
guides themselves, and `truth` the distance of one half of the truths to the other: about what the measure cannot get
below, though it is a little larger for halves.
The table goes to standard output and OUT/sdedit.md, the curves to OUT/sdedit.png, the first results to OUT/grid.png.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ddbm_cli.imaging.io import open_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import contact_sheet
from ddbm_cli.imaging.walk import list_images
from ddbm_cli.paths import VE
from ddbm_cli.samplers import NoisedStart

STRENGTHS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8)
GRID_ROWS = 12
FAITHFUL, REALISTIC = "distance to the guide", "distance to the pictures (swd)"
COLOURS = {FAITHFUL: (190, 60, 40), REALISTIC: (40, 90, 170)}


def ddbm(*words: object) -> bytes:
    """Run the command as a user would, and return its standard output; stop where it fails."""
    line = [sys.executable, "-m", "ddbm_cli", *map(str, words)]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout


def measure(outputs: Path, targets: Path, metric: str) -> float:
    """Return a figure of `ddbm evaluate`."""
    (figure,) = json.loads(ddbm("evaluate", outputs, targets, "--metrics", metric, "--json", "--quiet"))["figures"]
    return float(figure["value"])


def choose(folders: Sequence[Path], out: Path, count: int) -> None:
    """Copy pairs, evenly spread over all, to OUT/in; and the halves of their truths, for the measure's own floor."""
    sides = [list_images(folder).stems() for folder in folders]
    names = sorted(sides[0].keys() & sides[1].keys())
    names = names[:: max(1, len(names) // count)][:count]
    for side, files in zip("AB", sides, strict=True):
        (out / "in" / side).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(files[name], out / "in" / side / files[name].name)
    for half in (0, 1):
        (out / "halves" / f"{half}").mkdir(parents=True, exist_ok=True)
        for place, name in enumerate(names[half : 2 * (len(names) // 2) : 2]):
            shutil.copy(sides[1][name], out / "halves" / f"{half}" / f"{place:04d}{sides[1][name].suffix}")


def table(rows: Sequence[dict[str, float]], floor: float) -> str:
    """Return the rows as a table in Markdown."""
    lines = [f"| strength | sigma | {FAITHFUL} | {REALISTIC} |", "|---|---|---|---|"]
    lines += [f"| {r['strength']:g} | {r['sigma']:.2f} | {r[FAITHFUL]:.3f} | {r[REALISTIC]:.3f} |" for r in rows]
    return "\n".join([*lines, f"| truth | | | {floor:.3f} |", ""])


def plot(rows: Sequence[dict[str, float]], floor: float, *, size: tuple[int, int] = (560, 320)) -> Image.Image:
    """Return both distances over strength, each with its own scale: left the guide's, right the pictures'."""
    width, height, margin = *size, 56
    image, font = Image.new("RGB", size, "white"), ImageFont.load_default(13)
    draw = ImageDraw.Draw(image)
    draw.rectangle((margin, margin, width - margin, height - margin), outline=(150, 150, 150))

    def at(strength: float, share: float) -> tuple[float, float]:
        return margin + strength * (width - 2 * margin), height - margin - share * (height - 2 * margin)

    for strength in (0, 0.2, 0.4, 0.6, 0.8, 1):
        draw.text((at(strength, 0)[0], height - margin + 6), f"{strength:g}", "black", font, anchor="ma")
    draw.text((width / 2, height - margin + 26), "strength", "black", font, anchor="ma")
    for place, (name, colour) in enumerate(COLOURS.items()):
        top = 1.1 * max(row[name] for row in rows)
        points = [at(row["strength"], row[name] / top) for row in rows]
        draw.line(points, colour, 2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
        for share in (0, 0.5, 1):
            side = (at(0, share)[0] - 6, "rm") if place == 0 else (at(1, share)[0] + 6, "lm")
            draw.text((side[0], at(0, share)[1]), f"{share * top:.2f}", colour, font, anchor=side[1])
        draw.text((margin + place * (width - 2 * margin), 24), name, colour, font, anchor="ls" if place == 0 else "rs")
        if name == REALISTIC:
            draw.line([at(0, floor / top), at(1, floor / top)], colour, 1)
            draw.text((at(1, 0)[0] - 4, at(0, floor / top)[1] - 4), "truth", colour, font, anchor="rs")
    return image


def grid(out: Path, folders: Sequence[Path]) -> Image.Image:
    """Return the first results: guide, each strength, truth."""
    names = sorted(list_images(out / "in" / "B").stems())[:GRID_ROWS]
    square = Preprocess(size=64)
    sides = []
    for folder in (*folders, out / "in" / "B"):
        files = list_images(folder).stems()
        sides.append(torch.stack([square.forward(open_picture(files[name]))[0] for name in names]))
    return contact_sheet(sides, columns=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("guides", type=Path)
    parser.add_argument("truths", type=Path)
    parser.add_argument("prior")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=10**6)
    arguments, options = parser.parse_known_args()
    out: Path = arguments.out
    choose([arguments.guides, arguments.truths], out, arguments.count)
    words = ["--method", "sdedit", "--strength", ",".join(map(str, STRENGTHS)), "--no-progress", "--quiet", *options]
    ddbm("translate", out / "in" / "A", out, "-m", arguments.prior, "--format", "png", *words)
    folders = [out / f"strength-{strength:g}".replace(".", "_") for strength in STRENGTHS]
    rows = [
        {
            "strength": strength,
            "sigma": NoisedStart(strength=strength).sigma(VE()) if strength else 0.0,
            FAITHFUL: measure(folder, folders[0], "mse") ** 0.5,
            REALISTIC: measure(folder, out / "in" / "B", "swd"),
        }
        for strength, folder in zip(STRENGTHS, folders, strict=True)
    ]
    floor = measure(out / "halves" / "0", out / "halves" / "1", "swd")
    (out / "sdedit.md").write_text(table(rows, floor))
    plot(rows, floor).save(out / "sdedit.png")
    grid(out, folders).save(out / "grid.png")
    sys.stdout.write(table(rows, floor))


if __name__ == "__main__":
    main()
