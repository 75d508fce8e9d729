"""A comparison as JSON, CSV and Markdown."""

import csv
import io
import json
from typing import Any

from ddbm_cli.comparison.result import Comparison, Outcome


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per method: label, NFE, seconds per image, the mean of each metric, the figures of the set."""
    return [_row(comparison, outcome) for outcome in comparison.outcomes]


def _row(comparison: Comparison, outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        return {"method": outcome.label, "series": outcome.series, "error": outcome.error}
    row = {"method": outcome.label, "series": outcome.series, "nfe": outcome.nfe, "seconds": round(outcome.seconds, 4)}
    return row | {name: outcome.means[name] for name in comparison.metrics if name in outcome.means}


def as_json(comparison: Comparison) -> bytes:
    """Return everything except the images."""
    body = {
        "facts": comparison.facts,
        "warnings": comparison.warnings,
        "metrics": {
            name: {"what": what, "higher_is_better": higher} for name, (what, higher) in comparison.metrics.items()
        },
        "inputs": [
            {"name": each.name, "split": each.split} | ({"prompt": each.prompt} if each.prompt else {})
            for each in comparison.inputs
        ],
        "methods": [
            _row(comparison, outcome)
            | {
                "model": outcome.model,
                "sampling": outcome.sampling,
                "conditions": outcome.conditions,
                "commands": outcome.commands,
                "scores": outcome.scores,
                "failed": outcome.failed,
            }
            for outcome in comparison.outcomes
        ],
    }
    return f"{json.dumps(body, indent=1)}\n".encode()


def as_csv(comparison: Comparison) -> bytes:
    """Return a row per method and input, with the scores of that image."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    prompt = ["prompt"] if comparison.prompts else []
    writer.writerow(["method", "nfe", "seconds", "input", "split", *prompt, *comparison.metrics, "error"])
    for outcome in comparison.outcomes:
        for each in comparison.inputs:
            scores = [outcome.scores.get(metric, {}).get(each.name, "") for metric in comparison.metrics]
            error = outcome.error or outcome.failed.get(each.name, "")
            facts = [outcome.label, outcome.nfe, f"{outcome.seconds:.4f}", each.name, each.split]
            facts += [each.prompt] if prompt else []
            writer.writerow([*facts, *scores, error])
    return text.getvalue().encode("utf-8", "backslashreplace")


def as_markdown(comparison: Comparison) -> bytes:
    """Return the table of means, the description of each metric, the machine and the warnings."""
    names = list(comparison.metrics)
    arrows = [f"{name} {'↑' if higher else '↓'}" for name, (_, higher) in comparison.metrics.items()]
    lines = [_line("method", "NFE", "s/image", *arrows), _line("---", "--:", "--:", *["--:"] * len(names))]
    for outcome in comparison.outcomes:
        if outcome.error:
            lines.append(_line(outcome.label, f"failed: {outcome.error}", *[""] * (len(names) + 1)))
            continue
        means = [_mean(comparison, outcome, name) for name in names]
        lines.append(_line(outcome.label, str(outcome.nfe), f"{outcome.seconds:.3f}", *means))
    lines += ["", *(f"- {name}: {what}" for name, (what, _) in comparison.metrics.items())]
    lines += [f"- {name}: {fact}" for name, fact in comparison.facts.items()]
    lines += [f"- **{warning}**" for warning in comparison.warnings]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _line(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', ' ').split()) for cell in cells)} |"


def _mean(comparison: Comparison, outcome: Outcome, metric: str) -> str:
    """Return the mean of a metric, bold where it is the best."""
    if metric not in outcome.means:
        return ""
    text = f"{outcome.means[metric]:.4g}"
    return f"**{text}**" if outcome.label in comparison.best(metric) else text
