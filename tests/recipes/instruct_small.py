"""Make the built-in small model that edits by instruction, and measure what it does on held-out images.

    python -m tests.recipes.instruct_small IMAGES RUN [--noise] [--ship] [--cases N] [any option of `ddbm train`]

IMAGES is a folder with an `index.tsv` that gives each file's split, object and skin tones. The triplets are written to
`edits` next to RUN. With --noise it is a diffusion model from noise with the source as a condition, as in the paper,
for the comparison. The same command resumes an interrupted run, and `--hours 2` limits the time; then --ship packages
the averaged weights that there are. `ship_instruct` packages a run without training it further.
"""

import argparse
from pathlib import Path

from tests.recipes import measure_instruct, ship_instruct
from tests.recipes.sketch_to_3d import HERE, ddbm, train

NOISE = ["--path", "vp", "--prediction", "preconditioned:c_noise=log-snr"]


def make_edits(images: Path, edits: Path, size: int = 64) -> Path:
    """Write the triplets; return their list."""
    index = str(images / "index.tsv")
    options = ["--split-by", index, "--variants", index, "--per-image", "6", "--size", str(size), "-q"]
    ddbm("data", "instruct", str(images), str(edits), *options)
    return edits / "pairs.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--ship", action="store_true", help="write the file into the package, and its entry")
    parser.add_argument("--cases", type=int, default=None, help="held-out triplets to measure, by default all")
    given, options = parser.parse_known_args()
    begun = (given.run / "config.json").exists()
    pairs = make_edits(given.images, given.run.parent / "edits")
    train(
        [pairs], HERE / "instruct-small-64.toml", given.run, [*(NOISE if given.noise and not begun else []), *options]
    )
    model = given.run / "model.safetensors"
    if given.ship:
        ship_instruct.ship(model, pairs, cases=given.cases)
    else:
        measure_instruct.measure({given.run.name: model}, pairs, given.run / "edits", cases=given.cases)


if __name__ == "__main__":
    main()
