"""Layout of the plots: a metric against work or another metric, one colour and marker per series.

An axis of work is logarithmic. An axis of a metric starts at zero, except where the values span less than a third of
their distance to zero; then its lower end is marked as broken.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ddbm_cli.comparison.result import Comparison, Outcome

WIDTH, HEIGHT = 380, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 50
"""Margins, in the plot's own units."""

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "down", "plus", "hexagon")
COLOURS = 8
"""Colours of the style sheet, after Okabe and Ito: distinguishable with every kind of colour blindness."""

BROKEN_BELOW = 1 / 3

IMAGE_SCALE = "image_guidance_scale"


@dataclass(frozen=True)
class Series:
    """The colour and marker of methods that differ in budget only."""

    name: str
    colour: int
    shape: str


@dataclass(frozen=True)
class Point:
    """One method: its place, its interval's ends (vertical places), and its values in words."""

    title: str
    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Line:
    """The points of a series, by increasing work."""

    series: Series
    points: list[Point]


@dataclass(frozen=True)
class Plot:
    """A metric against work, or against another metric. Ticks are (place, text).

    broken, x_broken: the vertical or horizontal axis does not start at zero.
    threads: places (x, y) of methods that differ in the image guidance scale only, by this scale.
    """

    title: str
    better: str
    x_title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    broken: bool
    x_broken: bool = False
    threads: list[list[tuple[float, float]]] = field(default_factory=list)


def series_of(comparison: Comparison) -> dict[str, Series]:
    """Return the series of each method, by its label."""
    names = list(dict.fromkeys(outcome.series for outcome in comparison.ran))
    made = {
        name: Series(name, place % COLOURS, SHAPES[(place + place // COLOURS) % len(SHAPES)])
        for place, name in enumerate(names)
    }
    return {outcome.label: made[outcome.series] for outcome in comparison.ran}


def plots(comparison: Comparison) -> list[Plot]:
    """Return the first per-image metric and the first metric of sets, against evaluations and against seconds.

    Both, because a per-image metric alone rewards blur, and a metric of sets alone ignores which image is which.
    """
    of_sets = {name for outcome in comparison.outcomes for name in outcome.figures}
    made = []
    for sets in (False, True):
        metric = next((name for name in comparison.metrics if (name in of_sets) == sets), None)
        measured = [outcome for outcome in comparison.ran if metric in outcome.means]
        if metric is None or len(measured) < 2:
            continue
        for x_title, work_of in (("network evaluations per image", "nfe"), ("seconds per image", "seconds")):
            work = [float(getattr(outcome, work_of)) for outcome in measured]
            if len(set(work)) > 1:
                made.append(_plot(comparison, metric, measured, work, x_title))
    pairs = ((x, y, [each for each in comparison.ran if {x, y} <= each.means.keys()]) for x, y in comparison.trade_offs)
    return made + [_trade_off(comparison, x, y, measured) for x, y, measured in pairs if len(measured) > 1]


def _plot(comparison: Comparison, metric: str, measured: Sequence[Outcome], work: list[float], x_title: str) -> Plot:
    least = min((value for value in work if value > 0), default=1e-3)
    work = [max(value, least) for value in work]  # a logarithm needs more than nothing
    x_ticks = _log_ticks(min(work), max(work))
    low_x, high_x = math.log(min(x_ticks[0], *work)), math.log(max(x_ticks[-1], *work))
    ends = [end for each in measured for end in (each.means[metric], *each.intervals.get(metric, ()))]
    y_ticks, broken = _linear_ticks(min(ends), max(ends))

    def across(value: float) -> float:
        return _across(_share(math.log(value), low_x, high_x))

    series = series_of(comparison)
    lines: dict[Series, list[tuple[float, Point]]] = {}
    for outcome, amount in zip(measured, work, strict=True):
        point = _point(outcome, metric, across(amount), f"{amount:.3g} {x_title}", y_ticks)
        lines.setdefault(series[outcome.label], []).append((amount, point))
    return Plot(
        title=metric,
        better="higher is better" if comparison.metrics[metric][1] else "lower is better",
        x_title=f"{x_title} (log scale)",
        lines=[
            Line(each, [point for _, point in sorted(points, key=lambda pair: pair[0])])
            for each, points in lines.items()
        ],
        x_ticks=[(across(tick), f"{tick:g}") for tick in x_ticks],
        y_ticks=[(_up(tick, y_ticks), f"{tick:.6g}") for tick in y_ticks],
        broken=broken,
    )


def _trade_off(comparison: Comparison, x: str, y: str, measured: Sequence[Outcome]) -> Plot:
    """Return the plot of one metric against another; higher is better for both."""
    values = [each.means[x] for each in measured]
    x_ticks, x_broken = _linear_ticks(min(values), max(values))
    ends = [end for each in measured for end in (each.means[y], *each.intervals.get(y, ()))]
    y_ticks, broken = _linear_ticks(min(ends), max(ends))

    def across(value: float) -> float:
        return _across(_share(value, x_ticks[0], x_ticks[-1]))

    series = series_of(comparison)
    points = {
        each.label: _point(each, y, across(each.means[x]), f"{x} {each.means[x]:.4g}", y_ticks) for each in measured
    }
    threads: dict[str, list[tuple[float, tuple[float, float]]]] = {}
    for each in measured:
        others = {name: value for name, value in each.conditions.items() if name != IMAGE_SCALE}
        place = points[each.label].x, points[each.label].y
        threads.setdefault(repr((each.digest, each.sampling, others)), []).append(
            (each.conditions.get(IMAGE_SCALE, 1.0), place)
        )
    return Plot(
        title=y,
        better="higher is better for both",
        x_title=x,
        lines=[Line(series[label], [point]) for label, point in points.items()],
        x_ticks=[(across(tick), f"{tick:.6g}") for tick in x_ticks],
        y_ticks=[(_up(tick, y_ticks), f"{tick:.6g}") for tick in y_ticks],
        broken=broken,
        x_broken=x_broken,
        threads=[[place for _, place in sorted(places)] for places in threads.values() if len(places) > 1],
    )


def _point(outcome: Outcome, metric: str, x: float, x_words: str, y_ticks: Sequence[float]) -> Point:
    low, high = outcome.intervals.get(metric, (None, None))
    value = outcome.means[metric]
    words = f"{outcome.label}: {metric} {value:.4g}"
    words += "" if low is None else f" (95 % interval {low:.4g} to {high:.4g})"
    ends = (None if end is None else _up(end, y_ticks) for end in (low, high))
    return Point(f"{words}, {x_words}", x, _up(value, y_ticks), *ends)


def _up(value: float, ticks: Sequence[float]) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(value, ticks[0], ticks[-1]), 1)


def _across(share: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten that enclose a range; only powers of ten where there would be many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    below = max((tick for tick in ticks if tick <= low * 1.0001), default=ticks[0])
    above = min((tick for tick in ticks if tick >= high * 0.9999), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above]


def _linear_ticks(low: float, high: float) -> tuple[list[float], bool]:
    """Return four to seven round ticks that enclose a range, and whether they do not start at zero."""
    broken = (high - low) < BROKEN_BELOW * max(abs(low), abs(high)) and low * high > 0
    if not broken:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or abs(high) or 1.0
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)], broken


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5
