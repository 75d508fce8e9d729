"""Make the built-in prior: pictures, training, held-out numbers, the file that ships and the README's picture.

    python -m tests.recipes.prior_3d PICTURES RUN [any option of `ddbm train`]

PICTURES is a folder with an `index.tsv` that gives each file's split, as for `tests.recipes.sketch_to_3d`, whose pairs
beside RUN are used where they are there. Interrupted, the same command goes on; `--hours 2` stops it in time.
"""

from tests.recipes import ship_prior
from tests.recipes.sketch_to_3d import HERE, arguments, ddbm, train


def main() -> None:
    given, options = arguments(__doc__)
    pairs = given.run.parent / "pairs" / "ink"
    index = str(given.pictures / "index.tsv")
    ddbm("data", "edges", str(given.pictures), str(pairs), "--style", "ink", "--split-by", index, "-q")
    train([pairs], HERE / "prior-3d-64.toml", given.run, options)
    ship_prior.ship(given.run / "model.safetensors", pairs)


if __name__ == "__main__":
    main()
