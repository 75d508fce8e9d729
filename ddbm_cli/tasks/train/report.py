"""report.html: curves, the same held-out images over time, data, settings and commands of a run, in one page.

It is written again as the run goes, and can be read at any time: the file is replaced atomically, has its images
inside, and needs no script.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ddbm_cli.comparison.html import environment, uri
from ddbm_cli.foundation.errors import ImageError
from ddbm_cli.foundation.files import write_text
from ddbm_cli.imaging.io import encode_picture, open_picture
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.imaging.sheet import cut_sheet
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.tasks.train.results import Results
from ddbm_cli.tasks.train.stored import settings_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 220, 64, 12, 14, 26
LOGARITHMIC_FROM = 10.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""

LINEAR = "Learning rate"
"""The title of the chart whose axis is never logarithmic."""

MARKS = 4
SHOWN_PAIRS, SHOWN_STEPS = 4, 8
"""Held-out images, and steps at which their results are shown: the first, the newest, and evenly spread ones."""

COLOURS = 6
TOGETHER = "loss"
"""Begins the names of columns that share a chart with the training loss."""

LEFT_OUT = ("step", "blank_mse", "seconds")


@dataclass(frozen=True)
class Line:
    """One curve of a chart: where its points are, and its newest and lowest value in words."""

    name: str
    colour: int
    points: list[tuple[float, float]]
    newest: str
    lowest: str


class Report:
    """The page of a run.

    Args:
        facts: those of the header.
        metrics: means of losses over some steps. results: the validations.
    """

    def __init__(
        self, folder: RunFolder, request: TrainRequest, facts: Mapping[str, str], *, metrics: Results, results: Results
    ) -> None:
        self._folder, self._request, self._facts = folder, request, facts
        self._metrics, self._results = metrics, results
        self._cut: dict[int, list[list[str]]] = {}

    def write(self, step: int) -> None:
        """Write the page as it is after a step.

        Raises:
            OSError: it cannot be written.
        """
        heads, strips = self._strips()
        page = (
            environment("ddbm_cli.tasks.train")
            .get_template("report.html.j2")
            .render(
                title=self._request.name or self._folder.path.absolute().name,
                status=self._status(step),
                step=step,
                total=max(self._request.recipe.steps, step),
                charts=charts(self._metrics.rows, self._results.rows),
                heads=heads,
                strips=strips,
                is_prior=self._request.is_prior,
                commands=commands(self._request, self._folder),
                facts=list(self._facts.items()),
                settings=settings_of(self._request),
            )
        )
        write_text(self._folder.report, page.encode("utf-8", "replace").decode())

    def _status(self, step: int) -> str:
        now = f"written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        seconds = float(self._metrics.rows[-1].get("seconds") or 0) if self._metrics.rows else 0.0
        scored = [(float(row["loss"]), row["step"]) for row in self._results.rows if row.get("loss")]
        best = f"; lowest validation loss {min(scored)[0]:.4g} at step {min(scored)[1]}" if scored else ""
        return f"Step {step:,} of {self._request.recipe.steps:,}, {seconds / 3600:.2f} hours of training{best}; {now}"

    def _strips(self) -> tuple[list[str], list[list[dict[str, Any] | None]]]:
        """Return the headings, and a row of images for each held-out pair."""
        steps = sorted(int(row["step"]) for row in self._results.rows if self._folder.sheet(int(row["step"])).exists())
        if not steps:
            return [], []
        chosen = sorted({steps[round(place * (len(steps) - 1) / (SHOWN_STEPS - 1))] for place in range(SHOWN_STEPS)})
        groups = self._cut = {step: self._groups(step) for step in chosen}
        newest = groups[chosen[-1]]
        ends = 0 if self._request.is_prior else 1
        last = "and back" if self._request.is_unpaired else "target"
        heads = ["source"] * ends + [f"step {step:,}" for step in chosen] + [last] * ends
        strips: list[list[dict[str, Any] | None]] = []
        for index in range(min(SHOWN_PAIRS, len(newest))):
            cells = [_cell(groups[step], index, ends, f"image {index + 1}, step {step}") for step in chosen]
            if ends:
                cells = [_cell(newest, index, 0, f"source {index + 1}"), *cells]
                cells += [_cell(newest, index, 2, f"{last} {index + 1}")]
            strips.append(cells)
        return heads, strips

    def _groups(self, step: int) -> list[list[str]]:
        """Return the images of a step's sheet as URIs, a list for each of the first groups."""
        if step in self._cut:
            return self._cut[step]
        size, file = Preprocess(size=self._request.size), self._folder.sheet(step)
        group = 1 if self._request.is_prior else 3
        try:
            groups = cut_sheet(open_picture(file), group=group, width=size.width, height=size.height)[:SHOWN_PAIRS]
        except ImageError:
            return []
        kind = "png" if size.width * size.height <= 64 * 64 else "webp"
        return [[uri(encode_picture(each, kind, quality=90)) for each in images] for images in groups]


def charts(metrics: Sequence[Mapping[str, str]], results: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return the charts of a run: losses together, then one for each other column.

    Args:
        metrics, results: rows of the two tables, with a "step" each.
    """
    scores = [name for name in dict.fromkeys(name for row in results for name in row) if name not in LEFT_OUT]
    losses = [name for name in scores if name.startswith(TOGETHER)]
    wanted: list[tuple[str, list[tuple[str, Sequence[Mapping[str, str]], str]]]] = [
        ("Loss", [("training", metrics, "loss"), *((_spoken(name), results, name) for name in losses)]),
        *((_spoken(name).capitalize(), [(_spoken(name), results, name)]) for name in scores if name not in losses),
        ("Gradient norm", [("before clipping", metrics, "gradient_norm")]),
        (LINEAR, [("learning rate", metrics, "rate")]),
    ]
    made = [chart(title, {name: _points(rows, column) for name, rows, column in lines}) for title, lines in wanted]
    return [each for each in made if each]


def _spoken(column: str) -> str:
    return f"validation {column.replace('_', ' ')}"


def _points(rows: Sequence[Mapping[str, str]], column: str) -> list[tuple[float, float]]:
    """Return a column over the steps, without what is no number."""
    found = []
    for row in rows:
        try:
            point = float(row["step"]), float(row[column])
        except (KeyError, ValueError):
            continue
        if all(map(math.isfinite, point)):
            found.append(point)
    return found


def chart(title: str, lines: Mapping[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Return one chart of curves (step, value) by name; {} where there are no points."""
    lines = {name: points for name, points in lines.items() if points}
    values = [value for points in lines.values() for _, value in points]
    if not values:
        return {}
    low, high = min(values), max(values)
    is_log = title != LINEAR and low > 0 and high / low >= LOGARITHMIC_FROM
    bottom, top = (math.log10(low), math.log10(high)) if is_log else (min(low, 0.0), high)
    top = top if top > bottom else bottom + 1
    first = min(points[0][0] for points in lines.values())
    last = max(points[-1][0] for points in lines.values())

    def place(step: float, value: float) -> tuple[float, float]:
        across = (step - first) / (last - first) if last > first else 1.0
        up = ((math.log10(value) if is_log else value) - bottom) / (top - bottom)
        return round(LEFT + across * (WIDTH - LEFT - RIGHT), 1), round(
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1
        )

    drawn = [
        Line(
            name=name,
            colour=index % COLOURS,
            points=[place(*point) for point in points],
            newest=f"{points[-1][1]:.4g} at step {points[-1][0]:,.0f}",
            lowest=f"{min(value for _, value in points):.4g}",
        )
        for index, (name, points) in enumerate(lines.items())
    ]
    levels = [bottom + index * (top - bottom) / (MARKS - 1) for index in range(MARKS)]
    marks = [(10**level if is_log else level) for level in levels]
    return {
        "title": title,
        "is_log": is_log,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "first": f"{first:,.0f}",
        "last": f"{last:,.0f}",
        "marks": [{"y": place(first, mark)[1], "label": f"{mark:.2g}"} for mark in marks],
        "lines": drawn,
    }


def commands(request: TrainRequest, folder: RunFolder) -> list[tuple[str, str]]:
    """Return what to do with a run, and the command for it."""
    data = " ".join(shlex.quote(str(path)) for path in request.data)
    return [
        ("Use the model:", use_command(request, folder.model)),
        ("Resume the run:", f"ddbm train --resume {shlex.quote(str(folder.path))}"),
        (
            "Repeat the run, with the settings below in settings.toml:",
            f"ddbm train {data} --config settings.toml -o NEW",
        ),
    ]


def use_command(request: TrainRequest, model: Path) -> str:
    """Return the command that uses a trained model."""
    quoted = shlex.quote(str(model))
    return (
        f"ddbm sample -n 16 -o samples/ -m {quoted}" if request.is_prior else f"ddbm translate INPUT OUTPUT -m {quoted}"
    )


def _cell(groups: list[list[str]], index: int, place: int, words: str) -> dict[str, Any] | None:
    if index >= len(groups) or place >= len(groups[index]):
        return None
    return {"uri": groups[index][place], "alt": words}
