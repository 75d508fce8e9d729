"""Make the built-in model of two evaluations: pairs, distillation of the built-in model, scores, the packaged file.

    python -m tests.recipes.sketch_to_3d_fast IMAGES RUN [any option of `ddbm train`]

IMAGES as of `sketch_to_3d`. The same command resumes an interrupted run. The packaged file was made with `--hours 0.9`,
which ended at step 305; the recipe has as many steps.
"""

from tests.recipes import ship_fast
from tests.recipes.sketch_to_3d import HERE, arguments, make_pairs, train


def main() -> None:
    given, options = arguments(__doc__)
    pairs = make_pairs(given.images, given.run.parent / "pairs")
    train([pairs / "ink", pairs / "pencil"], HERE / "sketch-to-3d-64-fast.toml", given.run, options)
    ship_fast.ship(given.run / "model.safetensors", pairs, count=174, draws=2)


if __name__ == "__main__":
    main()
