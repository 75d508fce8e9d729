"""Train a Schrödinger bridge from light to dark skin tones without pairs, on emoji whose pairs exist and are hidden.

    python -m tests.recipes.skin_tones IMAGES RUN [any option of `ddbm train`]

IMAGES is a folder of Fluent emoji, `CODE-TONE...webp`. Two folders next to RUN get the light and the dark ones, and one
fifth of all codes is held out of both. The training gets no pairs; the held-out ones are for the error against the true
answer. The same command resumes an interrupted run.
"""

import shutil
from pathlib import Path

from ddbm_cli.foundation.hashing import number_of
from tests.recipes.sketch_to_3d import HERE, arguments, train

LIGHT, DARK = "1f3fb", "1f3ff"
HELD_OUT = 5


def make_sides(images: Path, sides: Path) -> Path:
    """Copy the images of both tones to trainA, trainB, valA and valB; return their folder."""
    for light in sorted(images.glob(f"*{LIGHT}*")):
        dark = light.with_name(light.name.replace(LIGHT, DARK))
        if not dark.exists() or DARK in light.name:
            continue
        split = "val" if number_of(light.name.partition("-")[0]) % HELD_OUT == 0 else "train"
        for side, image in (("A", light), ("B", dark)):
            (sides / f"{split}{side}").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image, sides / f"{split}{side}" / light.name.replace(f"-{LIGHT}", ""))
    return sides


def main() -> None:
    given, options = arguments(__doc__)
    sides = make_sides(given.images, given.run.parent / "tones")
    train([sides], HERE / "skin-tones-64.toml", given.run, options)


if __name__ == "__main__":
    main()
