"""report.html: the curves, the newest samples and the settings of a run in one page; written after each validation."""

import shlex
from collections.abc import Mapping, Sequence
from html import escape

from ddbm_cli.foundation.files import write_text
from ddbm_cli.options.train import TrainRequest
from ddbm_cli.tasks.train.folder import RunFolder
from ddbm_cli.tasks.train.stored import settings_of

WIDTH, HEIGHT, MARGIN = 560, 180, 8
SHEETS = 6
"""Sheets of samples that are shown: the newest ones."""

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 1rem 0; } img, svg { max-width: 100%; height: auto; image-rendering: pixelated; }
polyline { fill: none; stroke: currentColor; stroke-width: 2; } th { text-align: left; padding-right: 1rem; }
th, td { vertical-align: top; } td { overflow-wrap: anywhere; } pre { overflow-x: auto; }
"""


def write_report(
    folder: RunFolder, request: TrainRequest, facts: Mapping[str, str], rows: Sequence[Mapping[str, str]]
) -> None:
    """Write the page of a run.

    Args:
        facts: those of the header.
        rows: the validations so far, as in results.csv.
    """
    columns = dict.fromkeys(name for row in rows for name in row if name not in ("step", "blank_mse"))
    curves = "".join(_curve(name, rows) for name in columns)
    sheets = sorted(folder.samples.glob("step_*.png"))[-SHEETS:]
    images = "".join(
        f'<figure><img src="samples/{escape(sheet.name)}" alt="samples of {escape(sheet.stem)}" width="640">'
        f"<figcaption>{escape(sheet.stem.replace('_', ' '))}</figcaption></figure>"
        for sheet in reversed(sheets)
    )
    table = "".join(f"<tr><th>{escape(name)}</th><td>{_text(fact)}</td></tr>" for name, fact in facts.items())
    command = f"ddbm train --resume {shlex.quote(str(folder.path))}"
    title = escape(request.name or folder.path.absolute().name)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>'
        f"<h2>Validation</h2>{curves}<h2>Samples</h2>{images}<h2>Run</h2><table>{table}</table>"
        f"<h2>Resume</h2><pre>{_text(command)}</pre><h2>Settings</h2><pre>{_text(settings_of(request))}</pre>"
        "</body></html>\n"
    )
    write_text(folder.path / "report.html", page)


def _curve(name: str, rows: Sequence[Mapping[str, str]]) -> str:
    """Return a figure of one score over the steps; its axes begin at 0."""
    points = [(float(row["step"]), float(row[name])) for row in rows if row.get(name)]
    last, most = max(step for step, _ in points), max(value for _, value in points) or 1.0
    across, up = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    placed = " ".join(
        f"{MARGIN + step / last * across:.1f},{HEIGHT - MARGIN - value / most * up:.1f}" for step, value in points
    )
    said = f"{escape(name)}: {points[-1][1]:.4g} at step {last:.0f}; lowest {min(value for _, value in points):.4g}"
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{said}">'
        f'<polyline points="{placed}"/></svg><figcaption>{said}; both axes begin at 0</figcaption></figure>'
    )


def _text(text: str) -> str:
    """Return a text for the page; bytes of file names that are not UTF-8 are replaced."""
    return escape(text.encode("utf-8", "replace").decode())
