"""A comparison as one page of HTML that needs nothing beside it: pictures, style and script are inside."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from ddbm_cli.comparison.result import Comparison

WIDTH, HEIGHT, MARGIN = 460, 260, 56
"""Of a plot, in its own units."""

ROOM = 36
"""What the text of a tick takes."""


@dataclass(frozen=True)
class Point:
    """A method in a plot; x and y are places, `title` tells the values."""

    label: str
    title: str
    x: float
    y: float


@dataclass(frozen=True)
class Plot:
    """A metric against work; ticks are (place, text)."""

    title: str
    points: list[Point]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def as_html(comparison: Comparison) -> bytes:
    """Return the page. The same comparison gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ddbm_cli.comparison", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["uri"] = _uri
    template = environment.get_template("page.html.j2")
    return template.render(comparison=comparison, plots=_plots(comparison), width=WIDTH, height=HEIGHT).encode()


def _uri(picture: bytes) -> Markup:
    kind = "webp" if picture[8:12] == b"WEBP" else "png"
    return Markup(f"data:image/{kind};base64,{base64.b64encode(picture).decode()}")


def _plots(comparison: Comparison) -> list[Plot]:
    """Return the first metric of pictures, and the first of sets, against evaluations and against seconds.

    A metric of pictures alone rewards blur, one of sets alone does not ask whether it is the right picture.
    """
    of_sets = {name for outcome in comparison.outcomes for name in outcome.figures}
    chosen = [next((name for name in comparison.metrics if (name in of_sets) == sets), "") for sets in (False, True)]
    plots = []
    for metric in chosen:
        ran = [outcome for outcome in comparison.outcomes if metric in outcome.means]
        if len(ran) < 2:
            continue
        values = [outcome.means[metric] for outcome in ran]
        labels = [outcome.label for outcome in ran]
        plots += [
            _plot(f"{metric} against {what}", labels, [float(getattr(outcome, field)) for outcome in ran], values)
            for what, field in (("network evaluations", "nfe"), ("seconds a picture", "seconds"))
        ]
    return plots


def _plot(title: str, labels: Sequence[str], work: Sequence[float], values: Sequence[float]) -> Plot:
    """Lay out a plot, work on a logarithmic scale."""
    low, high = math.log(min(work)), math.log(max(work))
    bottom, top = min(values), max(values)
    points = [
        Point(
            label,
            f"{label}: {value:.4g} at {amount:.4g}",
            MARGIN + (WIDTH - 2 * MARGIN) * _share(math.log(amount), low, high),
            HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * _share(value, bottom, top),
        )
        for label, amount, value in zip(labels, work, values, strict=True)
    ]
    x_ticks: list[tuple[float, str]] = []
    for place, text in sorted((round(point.x, 1), f"{amount:.3g}") for point, amount in zip(points, work, strict=True)):
        if not x_ticks or place - x_ticks[-1][0] > ROOM:
            x_ticks.append((place, text))
    y_ticks = [(float(HEIGHT - MARGIN), f"{bottom:.3g}"), (float(MARGIN), f"{top:.3g}")]
    return Plot(title, points, x_ticks, y_ticks)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5
