"""Make the built-in prior: images, training, scores on held-out images, the packaged file and the README's sheet.

    python -m tests.recipes.prior_3d IMAGES RUN [any option of `ddbm train`]

IMAGES is a folder with an `index.tsv` that gives each file's split, as for `tests.recipes.sketch_to_3d`, whose pairs
next to RUN are used if they exist. The same command resumes an interrupted run. `--hours 2` limits the time.
"""

from tests.recipes import ship_prior
from tests.recipes.sketch_to_3d import HERE, arguments, ddbm, train


def main() -> None:
    given, options = arguments(__doc__)
    pairs = given.run.parent / "pairs" / "ink"
    index = str(given.images / "index.tsv")
    ddbm("data", "edges", str(given.images), str(pairs), "--style", "ink", "--split-by", index, "-q")
    train([pairs], HERE / "prior-3d-64.toml", given.run, options)
    ship_prior.ship(given.run / "model.safetensors", pairs)


if __name__ == "__main__":
    main()
