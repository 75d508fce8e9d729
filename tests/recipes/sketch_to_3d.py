"""Make the built-in model: pairs, training, scores on held-out pairs, the packaged file and the README's sheet.

    python -m tests.recipes.sketch_to_3d IMAGES RUN [any option of `ddbm train`]

IMAGES is a folder with an `index.tsv` that gives each file's split. The same command resumes an interrupted run.
On a GPU: `--device cuda --precision bf16 --batch-size 128 --hours 0.4`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.recipes import ship

HERE = Path(__file__).parent


def ddbm(*arguments: str) -> None:
    """Run the command, and exit if it fails."""
    code = subprocess.run([sys.executable, "-m", "ddbm_cli", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def arguments(description: str | None) -> tuple[argparse.Namespace, list[str]]:
    """Return IMAGES and RUN of a recipe's command line, and the options for `ddbm train`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("run", type=Path)
    return parser.parse_known_args()


def train(data: list[Path], config: Path, run: Path, options: list[str]) -> None:
    """Start a run with its recipe, or resume it."""
    begun = (run / "config.json").exists()
    which = ["--resume", run] if begun else [*data, "--config", config, "-o", run]
    ddbm("train", *map(str, which), *options)


def is_finished(run: Path) -> bool:
    """Return whether a run has done all of its steps, the last of which is validated."""
    steps = json.loads((run / "config.json").read_text())["recipe"]["steps"]
    return (run / "results.csv").read_text().splitlines()[-1].split(",")[0] == str(steps)


def make_pairs(images: Path, pairs: Path) -> Path:
    """Write pairs in ink and in pencil; return their folder."""
    index = str(images / "index.tsv")
    for style in ship.STYLES:
        ddbm("data", "edges", str(images), str(pairs / style), "--style", style, "--split-by", index, "-q")
    return pairs


def main() -> None:
    given, options = arguments(__doc__)
    pairs = make_pairs(given.images, given.run.parent / "pairs")
    train([pairs / "ink", pairs / "pencil"], HERE / "sketch-to-3d-64.toml", given.run, options)
    if is_finished(given.run):  # otherwise the time was too short, and the same command resumes
        ddbm("train", "--resume", str(given.run), "--config", str(HERE / "sketch-to-3d-64-more.toml"), *options)
    ship.ship(given.run / "model.safetensors", pairs)


if __name__ == "__main__":
    main()
