"""Train a Schrödinger bridge from sketches to garments at 64 pixels without pairs.

    python -m tests.recipes.garments IMAGES RUN [any option of `ddbm train`]

IMAGES is a folder of photographs on white with an `index.tsv` that gives each file's split. `ddbm data edges` draws
their sketches. Of the training images, one half becomes sketches (A) and the other half photographs (B), so that no
pair is in the training. Of the held-out images both are kept: valA and valB have the same names. The same command
resumes an interrupted run.
"""

import shutil
from pathlib import Path

from ddbm_cli.foundation.hashing import number_of
from tests.recipes.sketch_to_3d import HERE, arguments, ddbm, train


def make_sides(pairs: Path, sides: Path) -> Path:
    """Copy sketches and photographs of the pairs to trainA, trainB, valA and valB; return their folder."""
    for split in ("train", "val"):
        for place, side in enumerate("AB"):
            for image in sorted((pairs / split / side).rglob("*.png")):
                name = image.relative_to(pairs / split / side).as_posix()
                if split == "train" and number_of(name) % 2 != place:
                    continue
                target = sides / f"{split}{side}" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(image, target)
    return sides


def main() -> None:
    given, options = arguments(__doc__)
    pairs, index = given.run.parent / "pairs", str(given.images / "index.tsv")
    ddbm("data", "edges", str(given.images), str(pairs), "--style", "ink", "-r", "--split-by", index, "-q")
    sides = make_sides(pairs, given.run.parent / "sides")
    train([sides], HERE / "garments-64.toml", given.run, options)


if __name__ == "__main__":
    main()
