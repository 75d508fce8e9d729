"""A comparison as a table: JSON, CSV, Markdown."""

import csv
import io
import json
from typing import Any

from ddbm_cli.comparison.result import Comparison, Outcome


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row for each method: its label, NFE, seconds a picture, the mean of each metric, figures of the set."""
    return [_row(comparison, outcome) for outcome in comparison.outcomes]


def _row(comparison: Comparison, outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        return {"method": outcome.label, "error": outcome.error}
    row = {"method": outcome.label, "nfe": outcome.nfe, "seconds": round(outcome.seconds, 4)}
    return row | {name: outcome.means[name] for name in comparison.metrics if name in outcome.means}


def as_json(comparison: Comparison) -> bytes:
    """Return everything but the pictures."""
    body = {
        "facts": comparison.facts,
        "warnings": comparison.warnings,
        "metrics": {
            name: {"what": what, "higher_is_better": higher} for name, (what, higher) in comparison.metrics.items()
        },
        "inputs": [{"name": each.name, "split": each.split} for each in comparison.inputs],
        "methods": [
            _row(comparison, outcome)
            | {
                "model": outcome.model,
                "sampling": outcome.sampling,
                "commands": outcome.commands,
                "scores": outcome.scores,
                "failed": outcome.failed,
            }
            for outcome in comparison.outcomes
        ],
    }
    return f"{json.dumps(body, indent=1)}\n".encode()


def as_csv(comparison: Comparison) -> bytes:
    """Return a line for each method and input, with the metrics of that picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "nfe", "seconds", "input", "split", *comparison.metrics, "error"])
    for outcome in comparison.outcomes:
        for each in comparison.inputs:
            scores = [outcome.scores.get(metric, {}).get(each.name, "") for metric in comparison.metrics]
            error = outcome.error or outcome.failed.get(each.name, "")
            facts = [outcome.label, outcome.nfe, f"{outcome.seconds:.4f}", each.name, each.split]
            writer.writerow([*facts, *scores, error])
    return text.getvalue().encode()


def as_markdown(comparison: Comparison) -> bytes:
    """Return the table of means, with what each metric is, the machine, and the warnings."""
    names = list(comparison.metrics)
    arrows = [f"{name} {'↑' if higher else '↓'}" for name, (_, higher) in comparison.metrics.items()]
    lines = [_line("method", "NFE", "s/picture", *arrows), _line("---", "--:", "--:", *["--:"] * len(names))]
    for outcome in comparison.outcomes:
        if outcome.error:
            lines.append(_line(outcome.label, f"failed: {outcome.error}", *[""] * (len(names) + 1)))
            continue
        means = [f"{outcome.means[name]:.4g}" if name in outcome.means else "" for name in names]
        lines.append(_line(outcome.label, str(outcome.nfe), f"{outcome.seconds:.3f}", *means))
    lines += ["", *(f"- {name}: {what}" for name, (what, _) in comparison.metrics.items())]
    lines += [f"- {name}: {fact}" for name, fact in comparison.facts.items()]
    lines += [f"- **{warning}**" for warning in comparison.warnings]
    return ("\n".join(lines) + "\n").encode()


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"
