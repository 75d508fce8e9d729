"""A comparison as one self-contained HTML page: images, style and script are inside the file.

The templates stand in `templates/`: `page.html.j2` includes one file per section, `styles/` and `scripts/` hold what
is inlined.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ddbm_cli.comparison import plots
from ddbm_cli.comparison.html import environment
from ddbm_cli.comparison.result import Comparison, Outcome
from ddbm_cli.comparison.tables import as_csv, as_markdown

STYLES = ("base.css", "images.css", "scores.css", "plots.css", "models.css", "viewer.css")
SCRIPTS = ("common.js", "table.js", "viewer.js")

WIDEST = 12
"""Columns of images that stand side by side; with more, each input's images wrap."""

MAIN = ("licence", "data", "limits", "path", "prediction", "network", "preprocess")
"""Fields of a model card that are always visible; the others are folded."""

TITLE = ("name", "task")


def as_html(comparison: Comparison) -> bytes:
    """Return the page. Equal comparisons give equal bytes."""
    page = (
        environment("ddbm_cli.comparison")
        .get_template("page.html.j2")
        .render(
            comparison=comparison,
            plots=plots.plots(comparison),
            series=plots.series_of(comparison),
            models=_models(comparison.ran),
            image_metrics=[
                name for name in comparison.metrics if any(each.scores.get(name) for each in comparison.ran)
            ],
            size={
                "width": plots.WIDTH,
                "height": plots.HEIGHT,
                "left": plots.LEFT,
                "right": plots.RIGHT,
                "top": plots.TOP,
                "bottom": plots.BOTTOM,
            },
            markdown=as_markdown(comparison).decode(),
            csv=as_csv(comparison).decode(),
            widest=WIDEST,
            styles=STYLES,
            scripts=SCRIPTS,
        )
    )
    return page.encode("utf-8", "backslashreplace")


def _models(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the models in order of their first use, each with its card in words and the methods that use it."""
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for outcome in outcomes:
        model = models.setdefault(
            (outcome.model, outcome.digest),
            {"name": outcome.model, "reference": outcome.reference, "outcomes": [], **_card(outcome.card)},
        )
        model["outcomes"].append(outcome)
    return list(models.values())


def _card(card: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: text for name, value in card.items() if name not in TITLE and (text := in_words(value))}
    return {
        "task": in_words(card.get("task", "")),
        "main": [(name, shown[name]) for name in MAIN if name in shown],
        "more": [(name.replace("_", " "), text) for name, text in shown.items() if name not in MAIN],
    }


def in_words(value: Any) -> str:
    """Return a value of a model card as people read it: {"name": "adm", "blocks": 2} is "adm (blocks 2)"."""
    if value is None or value in ("", [], {}, ()):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        name = in_words(value.get("name", "")) if isinstance(value.get("name"), str) else ""
        rest = {key: in_words(each) for key, each in value.items() if not (name and key == "name")}
        words = ", ".join(f"{str(key).replace('_', ' ')} {text}" for key, text in rest.items() if text)
        return f"{name} ({words})" if name and words else name or words
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(in_words, value)))
    return str(value)
