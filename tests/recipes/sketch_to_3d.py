"""Make the built-in model: pairs, training, held-out numbers, the file that ships and the README's picture.

    python -m tests.recipes.sketch_to_3d PICTURES RUN [any option of `ddbm train`]

PICTURES is a folder with an `index.tsv` that gives each file's split. Interrupted, the same command goes on. On a GPU:
`--device cuda --precision bf16 --batch-size 128 --hours 0.4`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.recipes import ship

HERE = Path(__file__).parent


def ddbm(*arguments: str) -> None:
    """Run the command as a user would; stop where it fails."""
    subprocess.run([sys.executable, "-m", "ddbm_cli", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("run", type=Path)
    arguments, options = parser.parse_known_args()
    pairs = arguments.run.parent / "pairs"
    index = str(arguments.pictures / "index.tsv")
    for style in ("ink", "pencil"):
        ddbm("data", "edges", str(arguments.pictures), str(pairs / style), "--style", style, "--split-by", index, "-q")
    if (arguments.run / "config.json").exists():
        ddbm("train", "--resume", str(arguments.run), *options)
    else:
        config = str(HERE / "sketch-to-3d-64.toml")
        ddbm("train", str(pairs / "ink"), str(pairs / "pencil"), "--config", config, "-o", str(arguments.run), *options)
    ship.ship(arguments.run / "model.safetensors", pairs)


if __name__ == "__main__":
    main()
