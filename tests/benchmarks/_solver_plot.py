"""The plot of `tests.benchmarks.solvers`: two measures against the budget, one colour and dash for each sampler."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP, RIGHT = 420, 300, 56, 34, 44, 60, 20
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""After Okabe and Ito: distinguishable with every kind of colour blindness."""

DASHES = ("", "6 3", "2 3", "8 3 2 3")

SHOWN = ("hybrid", "ode", "card", "dbim-uniform", "dbim-3", "lambda", "dbmsolver-log-snr", "ecsi")
PANELS = (("swd", "Sliced Wasserstein distance to the truths"), ("error", "Mean squared error to the truth"))


def svg(cells: Mapping[str, Mapping[int, Mapping[str, Any]]], labels: Mapping[str, str]) -> str:
    """Return the plot; a point is a cell, at its own number of evaluations, and a value above the panel is cut off."""
    names = [name for name in SHOWN if name in cells]
    height = TOP + HEIGHT + BOTTOM + 18 * ((len(names) + 3) // 4)
    whole = 2 * (LEFT + WIDTH) + GAP + RIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" width="{whole}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{whole}" height="{height}" fill="white"/>',
    ]
    for number, (measure, title) in enumerate(PANELS):
        lines += _panel(cells, names, measure, title, number * (LEFT + WIDTH + GAP) + LEFT)
    for place, name in enumerate(names):
        x, y = LEFT + (place % 4) * (whole - LEFT) / 4, TOP + HEIGHT + BOTTOM + 18 * (place // 4)
        lines.append(_stroke(place, f"M{x} {y}h30"))
        lines.append(f'<text x="{x + 36}" y="{y + 4}">{labels[name]}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _stroke(place: int, path: str) -> str:
    dash = f' stroke-dasharray="{DASHES[place // 2 % 4]}"' if place // 2 % 4 else ""
    return f'<path d="{path}" fill="none" stroke="{COLOURS[place % 8]}" stroke-width="2"{dash}/>'


def _panel(cells: Any, names: list[str], measure: str, title: str, left: float) -> Iterator[str]:
    """Yield one panel: values of all cells with at least two evaluations."""
    points = {
        name: sorted((cell["nfe"], cell[measure][0]) for nfe, cell in cells[name].items() if nfe > 1) for name in names
    }
    every = sorted(value for row in points.values() for _, value in row)
    top = 2.5 * every[len(every) // 2]

    def place(nfe: float, value: float) -> str:
        x = left + WIDTH * math.log(nfe / 2) / math.log(119 / 2)
        return f"{x:.1f} {TOP + HEIGHT * (1 - min(value, top) / top):.1f}"

    yield f'<text x="{left}" y="{TOP - 14}" font-weight="bold">{title}</text>'
    yield f'<path d="M{left} {TOP}v{HEIGHT}h{WIDTH}" fill="none" stroke="#444"/>'
    step = 10 ** math.floor(math.log10(top))
    step = step / 5 if top / step < 2 else step / 2 if top / step < 5 else step
    for number in range(1, int(top / step) + 1):
        y = TOP + HEIGHT * (1 - number * step / top)
        yield f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#ddd"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number * step:.3g}</text>'
    for nfe in (2, 4, 6, 10, 20, 50, 119):
        x = place(nfe, 0).partition(" ")[0]
        yield f'<text x="{x}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{nfe}</text>'
    centre = left + WIDTH / 2
    yield f'<text x="{centre}" y="{TOP + HEIGHT + 32}" text-anchor="middle">network evaluations per image</text>'
    for number, name in enumerate(names):
        inside = [(nfe, value) for nfe, value in points[name] if value <= top]
        if inside:
            yield _stroke(number, "M" + "L".join(place(*each) for each in inside))
