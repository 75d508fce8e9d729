"""The field's table on our data: all methods, trained alike, at all budgets, on objects that none of them has seen.

    python -m tests.benchmarks.field PICTURES OUT [--steps 2800] [--pictures 48] [--only METHOD ...] [options of train]

PICTURES is a folder with an `index.tsv` that gives each file's split. Every method has the network, the batches, the
noise and the number of steps of all others (2,800 steps of 16 are half an hour on two cores); path, prediction and
sampler differ. pix2pix alone has its own network, of the paper's shape, and its own rates. SDEdit and DDIB take the
built-in prior of pictures, which had 8,000 steps. What is trained already is not trained again, nor what is measured
measured: stopped and given again, the command goes on, and further methods join the table.

OUT/runs/NAME       the runs          OUT/scores/NAME.json    what `ddbm compare` found, one for each row of the table
OUT/inputs          one picture of each of the first held-out objects: ink and pencil in turn
OUT/field.md        the table, of the rows that are measured
"""

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent.parent / "recipes"
BRIDGE, PRIOR = RECIPES / "sketch-to-3d-64.toml", RECIPES / "prior-3d-64.toml"
STYLES = ("ink", "pencil")
BUDGETS = (1, 2, 5, 10, 20, 50, 119)


@dataclass(frozen=True)
class Run:
    """A model to be trained: how its recipe differs; side: of the pairs, for a prior."""

    changes: dict[str, Any] = field(default_factory=dict)
    recipe: Path = BRIDGE
    side: str = ""


RUNS = {
    "ddbm-vp": Run(),
    "bbdm": Run({"path": "brownian", "prediction": "residual"}),
    "i2sb": Run({"path": "i2sb", "prediction": "i2sb"}),
    "rectified-flow": Run({"path": "rectified", "prediction": "velocity", "sees_source": False}),
    "palette": Run({"path": "cosine", "prediction": "velocity"}),
    "pix2pix": Run({
        "path": "rectified", "prediction": "x0", "times": "uniform", "network": "pix2pix:channels=32,depth=6",
        "objective": "pix2pix", "learning_rate": 2e-4, "ema": 0.0, "momentum": 0.5, "weight_decay": 0.0,
        "clip_norm": 1e9,
    }),
    "sketches": Run({
        "task": "prior", "translates": "-> sketch", "data_note": "sketches by `ddbm data edges`",
    }, PRIOR, "A"),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of the table. method: as after `--with`, with {run} for the models' files."""

    label: str
    runs: tuple[str, ...]
    method: str
    budgets: tuple[int, ...] = BUDGETS


ROWS = {
    "ddbm": Row("DDBM, hybrid Heun (churn 0.33)", ("ddbm-vp",), "heun:churn=0.33,model={ddbm-vp}"),
    "ddbm-ode": Row("DDBM, ODE (Heun)", ("ddbm-vp",), "heun:churn=0,model={ddbm-vp}"),
    "ddbm-sde": Row("DDBM, SDE (Euler-Maruyama)", ("ddbm-vp",), "euler-maruyama:model={ddbm-vp}"),
    "dbim": Row("DBIM, eta 0", ("ddbm-vp",), "dbim:model={ddbm-vp}"),
    "dbim-eta-1": Row("DBIM, eta 1", ("ddbm-vp",), "dbim:eta=1,model={ddbm-vp}"),
    "dbim-2": Row("DBIM, order 2", ("ddbm-vp",), "dbim-2:model={ddbm-vp}"),
    "dbim-3": Row("DBIM, order 3", ("ddbm-vp",), "dbim-3:model={ddbm-vp}"),
    "bbdm": Row("BBDM", ("bbdm",), "dbim:eta=1,model={bbdm}"),
    "i2sb": Row("I2SB", ("i2sb",), "dbim:eta=1,grid=uniform,model={i2sb}"),
    "rectified": Row("rectified flow (Euler)", ("rectified-flow",), "euler:grid=uniform:gap=0,model={rectified-flow}"),
    "palette": Row("conditional diffusion, DDIM", ("palette",), "dbim:grid=uniform,model={palette}"),
    "palette-2": Row("conditional diffusion, order 2", ("palette",), "dbim-2:grid=log-snr,model={palette}"),
    "pix2pix": Row("pix2pix", ("pix2pix",), "default:model={pix2pix}", (1,)),
    "sdedit-0.4": Row("SDEdit, strength 0.4", (), "sdedit:strength=0.4,model=prior-3d-64"),
    "sdedit-0.6": Row("SDEdit, strength 0.6", (), "sdedit:strength=0.6,model=prior-3d-64"),
    "ddib": Row("DDIB", ("sketches",), "ddib:source={sketches},model=prior-3d-64"),
}  # fmt: skip


def ddbm(*arguments: object) -> int:
    """Run the command as a user would; stop where it fails, but not where it did a part."""
    code = subprocess.run([sys.executable, "-m", "ddbm_cli", *map(str, arguments)], check=False).returncode
    return sys.exit(code) if code not in (0, 3) else code


def train(name: str, out: Path, steps: int, options: list[str]) -> Path:
    """Train a model, or go on with it; return its file."""
    plan, run = RUNS[name], out / "runs" / name
    model = run / "model.safetensors"
    if (run / "config.json").exists():
        if _made(run) < steps:
            ddbm("train", "--resume", run, "--steps", steps, *options)
        return model
    run.mkdir(parents=True, exist_ok=True)
    body = tomllib.loads(plan.recipe.read_text()) | {"name": name}
    body.pop("sampling", None)
    for key, value in plan.changes.items():
        (body["recipe"] if isinstance(value, float) else body)[key] = value
    config = run / "recipe.toml"
    config.write_text("".join(_toml(body)))
    pairs = [out / "pairs" / style for style in STYLES]
    data = [each / "train" / plan.side for each in pairs] if plan.side else pairs
    ddbm("train", *data, "--config", config, "-o", run, "--steps", steps, *options)
    return model


def _made(run: Path) -> int:
    """Return the steps that a run has made and been validated after."""
    results = run / "results.csv"
    return int(results.read_text().splitlines()[-1].split(",")[0]) if results.exists() else 0


def _toml(body: dict[str, Any], heading: str = "") -> Iterator[str]:
    """Write settings as TOML, tables last; JSON's strings, numbers and lists are TOML's."""
    yield heading
    yield from (f"{key} = {json.dumps(value)}\n" for key, value in body.items() if not isinstance(value, dict))
    for key, value in body.items():
        if isinstance(value, dict):
            yield from _toml(value, f"[{key}]\n")


def choose(out: Path, count: int) -> Path:
    """Copy one picture of each of the first held-out objects, in ink and pencil in turn; return their folder."""
    inputs = out / "inputs"
    names = sorted(path.name for path in (out / "pairs" / "ink" / "val" / "A").iterdir())
    objects = {name.removesuffix(".png").split("-1f3f")[0]: name for name in reversed(names)}  # less its skin tones
    for index, name in enumerate(sorted(objects.values())[:count]):
        style = STYLES[index % 2]
        for side in "AB":
            target = inputs / side / f"{style}-{name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(out / "pairs" / style / "val" / side / name, target)
    return inputs


def measure(name: str, out: Path, inputs: Path, models: dict[str, Path], device: str) -> None:
    """Measure a row of the table, unless it is measured."""
    row, scores = ROWS[name], out / "scores" / f"{name}.json"
    if scores.exists():
        return
    scores.parent.mkdir(exist_ok=True)
    method = row.method
    for run, file in models.items():
        method = method.replace(f"{{{run}}}", str(file))
    methods = [word for budget in row.budgets for word in ("--with", f"{method},nfe={budget}")]
    show = ("--trajectories", 0, "--device", device)
    ddbm("compare", inputs / "A", "-t", inputs / "B", *methods, *show, "-o", scores)


def table(out: Path) -> str:
    """Return the table of all rows that are measured, as Markdown."""
    found = {name: json.loads(file.read_text()) for name in ROWS if (file := out / "scores" / f"{name}.json").exists()}
    lines: list[str] = []
    for title, value in (
        ("Sliced Wasserstein distance of the set of results to the set of truths", _swd),
        ("Mean squared error, ink | pencil (range -1..1)", _errors),
        ("Edge F1: is the sketch kept", lambda method: f"{method['Edge F1']:.2f}"),
    ):
        lines += [f"**{title}**, by network evaluations a picture", ""]
        lines += [f"| method | {' | '.join(map(str, BUDGETS))} |", f"|---|{'--:|' * len(BUDGETS)}"]
        for name, body in found.items():
            by_budget = dict(zip(ROWS[name].budgets, body["methods"], strict=True))
            there = [by_budget.get(budget, {"error": "not asked for"}) for budget in BUDGETS]
            cells = ["" if "error" in each else value(each) for each in there]
            lines.append(f"| {ROWS[name].label} | {' | '.join(cells)} |")
        lines.append("")
    first = next(iter(found.values()))
    lines += ["| model | steps | seconds | batch | precision |", "|---|--:|--:|--:|---|"]
    for run in dict.fromkeys(run for name in found for run in ROWS[name].runs):
        shown = subprocess.run(
            [sys.executable, "-m", "ddbm_cli", "show", str(out / "runs" / run / "model.safetensors"), "--json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        made = json.loads(shown.stdout)["training"]
        lines.append(f"| {run} | {made['steps']} | {made['seconds']} | {made['batch_size']} | {made['precision']} |")
    lines += [
        "",
        f"{len(first['inputs'])} held-out objects. {first['facts']['date'][:10]}, {first['facts']['machine']}.",
    ]
    return "\n".join(lines) + "\n"


def _swd(method: dict[str, Any]) -> str:
    return f"{method['Sliced Wasserstein']:.3f}"


def _errors(method: dict[str, Any]) -> str:
    errors = method["scores"]["MSE"]
    of_style = [[value for name, value in errors.items() if name.startswith(style)] for style in STYLES]
    return " / ".join(f"{sum(values) / len(values):.3f}" for values in of_style)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures_folder", metavar="PICTURES", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--only", metavar="METHOD", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--device", default="auto")
    given, options = parser.parse_known_args()
    index = given.pictures_folder / "index.tsv"
    for style in STYLES:
        pairs = given.out / "pairs" / style
        ddbm("data", "edges", given.pictures_folder, pairs, "--style", style, "--split-by", index, "-q")
    inputs = choose(given.out, given.pictures)
    options += ["--device", given.device]
    for name in given.only:
        models = {run: train(run, given.out, given.steps, options) for run in ROWS[name].runs}
        measure(name, given.out, inputs, models, given.device)
    (given.out / "field.md").write_text(table(given.out))
    sys.stdout.write((given.out / "field.md").read_text())


if __name__ == "__main__":
    main()
