"""Bridges and what they are compared with, trained alike on the same pairs, in one table.

    python -m tests.benchmarks.baselines PAIRS OUT [--only NAME ...] [--steps 2800] [any option of `ddbm train`]

PAIRS is the folder of the built-in model's recipe, with pairs of ink/ and pencil/. Every method has the network, the
batches, the noise and the number of steps of all others (2,800 steps of 16 are half an hour on two cores); only path,
prediction and sampler differ. pix2pix alone has its own network, of the paper's shape, and its own rates. What is
trained already is not trained again, and what was stopped goes on. The tables, of held-out objects alone, go to
OUT/STYLE.md and OUT/STYLE.html.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).parent.parent / "recipes" / "sketch-to-3d-64.toml"

BASELINES = {
    "ddbm-vp": {"path": "vp-bridge", "prediction": "preconditioned:clock=log-snr"},
    "bbdm": {"path": "brownian", "prediction": "residual"},
    "i2sb": {"path": "i2sb", "prediction": "i2sb", "sampler": "implicit:eta=1", "grid": "uniform"},
    "rectified-flow": {
        "path": "rectified", "prediction": "velocity", "sees_source": False,
        "sampler": "euler", "grid": "uniform:gap=0",
    },
    "palette": {"path": "cosine", "prediction": "velocity", "sampler": "implicit", "grid": "uniform"},
    "pix2pix": {
        "path": "rectified", "prediction": "x0", "times": "uniform", "network": "pix2pix:channels=32,depth=6",
        "objective": "pix2pix", "learning_rate": 2e-4, "ema": 0.0, "momentum": 0.5, "weight_decay": 0.0,
        "clip_norm": 1e9, "grid": "karras:gap=0",
    },
}  # fmt: skip
"""Method -> how it differs, the samplers as in the papers: I2SB's posterior, rectified flow's Euler, DDIM."""

BUDGETS = (2, 5, 10, 20)
STYLES = ("ink", "pencil")


def ddbm(*arguments: object) -> None:
    """Run the command as a user would; stop where it fails."""
    subprocess.run([sys.executable, "-m", "ddbm_cli", *map(str, arguments)], check=True)


def train(name: str, pairs: Path, run: Path, steps: int, options: list[str]) -> None:
    """Train a method, or go on with it."""
    if (run / "config.json").exists():
        ddbm("train", "--resume", run, "--steps", steps, *options)
        return
    run.mkdir(parents=True, exist_ok=True)
    body = tomllib.loads(RECIPE.read_text()) | {"name": name, "sampling": {}}
    for key, value in BASELINES[name].items():
        table = "sampling" if key in ("sampler", "grid") else "recipe" if isinstance(value, float) else None
        (body[table] if table else body)[key] = value
    config = run / "recipe.toml"
    config.write_text("".join(_toml(body)))
    data = [pairs / style for style in STYLES]
    ddbm("train", *data, "--config", config, "-o", run, "--steps", steps, *options)


def _toml(body: dict[str, Any], heading: str = "") -> Iterator[str]:
    """Write settings as TOML, tables last; JSON's strings, numbers and lists are TOML's."""
    yield heading
    yield from (f"{key} = {json.dumps(value)}\n" for key, value in body.items() if not isinstance(value, dict))
    for key, value in body.items():
        if isinstance(value, dict):
            yield from _toml(value, f"[{key}]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--steps", type=int, default=2800)
    arguments, options = parser.parse_known_args()
    for name in arguments.only:
        train(name, arguments.pairs, arguments.out / name, arguments.steps, options)
    budgets = ",".join(map(str, BUDGETS))
    for style in STYLES:
        held_out = arguments.pairs / style / "val"
        methods = [
            word
            for name in arguments.only
            for word in ("--with", f"default:{budgets},model={arguments.out / name / 'model.safetensors'}")
        ]
        outputs = ["-o", arguments.out / f"{style}.md", "-o", arguments.out / f"{style}.html"]
        ddbm("compare", held_out / "A", "-t", held_out / "B", *methods, *outputs, "--overwrite")
        sys.stdout.write((arguments.out / f"{style}.md").read_text())


if __name__ == "__main__":
    main()
