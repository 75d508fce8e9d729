"""Make the built-in small model that edits by instruction, and measure what it does on held-out images.

    python -m tests.recipes.instruct_small EMOJI PHOTOS RUN [--noise] [--ship] [--cases N] [any option of `ddbm train`]

EMOJI is a folder with an `index.tsv` that gives each file's split, object and skin tones, PHOTOS one of garments with
an `index.tsv` of splits. The triplets are written to `edits` next to RUN. With --noise it is a diffusion model from
noise with the source as a condition, as in the paper, for the comparison. The same command resumes an interrupted run,
and `--hours 2` limits the time; then --ship packages the averaged weights that there are. `ship_instruct` packages a
run without training it further.
"""

import argparse
from pathlib import Path

from tests.recipes import measure_instruct, ship_instruct
from tests.recipes.sketch_to_3d import HERE, ddbm, train

NOISE = ["--path", "vp", "--times", "arcsine"]

GARMENTS = "recolour,stripes,darker,lighter"
"""What is done to photographs of garments."""


def make_edits(emoji: Path, photos: Path, edits: Path, size: int = 64) -> list[Path]:
    """Write the triplets of both; return their lists."""
    ways = {
        "emoji": (emoji, ("--variants", str(emoji / "index.tsv"), "--per-image", "6")),
        "garments": (photos, ("-r", "--edits", GARMENTS, "--per-image", "2")),
    }
    for name, (images, own) in ways.items():
        common = ("--split-by", str(images / "index.tsv"), "--size", str(size), "-q")
        ddbm("data", "instruct", str(images), str(edits / name), *own, *common)
    return [edits / name / "pairs.jsonl" for name in ways]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("emoji", "photos", "run"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--ship", action="store_true", help="write the file into the package, and its entry")
    parser.add_argument("--cases", type=int, default=None, help="held-out triplets to measure, by default all")
    given, options = parser.parse_known_args()
    begun = (given.run / "config.json").exists()
    lists = make_edits(given.emoji, given.photos, given.run.parent / "edits")
    train(lists, HERE / "instruct-small-64.toml", given.run, [*(NOISE if given.noise and not begun else []), *options])
    model = given.run / "model.safetensors"
    if given.ship:
        ship_instruct.ship(model, lists, cases=given.cases)
    else:
        for pairs in lists:
            out = given.run / "edits" / pairs.parent.name
            measure_instruct.measure({given.run.name: model}, pairs, out, cases=given.cases)


if __name__ == "__main__":
    main()
